"""The embedded data set: which files, which split, and that nothing of train is scored later."""

from __future__ import annotations

import ast
import hashlib
import json
import re
from collections import Counter
from pathlib import Path

import pytest

from harness.data import source
from harness.data.scrambled import lines_permuted, names_permuted, scrambled
from harness.data.source_views import Views, build_views
from harness.data.splits import SPLITS
from harness.errors import DataError

# Of all views of the pinned package. When it changes, raise VIEW_RULES, EXPECTED_FINGERPRINT and this.
CONTENT = "fd041ed39ae1a5eecb9ccd4a59ecb1aafa2f0d057bb30f765cc2ed87279fa886"


def test_installed_package_is_the_pinned_one() -> None:
    assert source.fingerprint() == source.EXPECTED_FINGERPRINT


def test_views_change_only_with_their_rules(source_views: Views) -> None:
    text = json.dumps(source_views, sort_keys=True, ensure_ascii=False)
    assert hashlib.sha256(text.encode()).hexdigest() == CONTENT


def test_size_and_shares(source_views: Views) -> None:
    sizes = {split: sum(len(text.encode()) for text in source_views["text"][split]) for split in SPLITS}
    total = sum(sizes.values())
    assert total > 10_000_000
    assert sizes["validation"] > 0.05 * total
    assert sizes["test"] > 0.1 * total


def test_tests_tables_and_generated_parsers_are_left_out() -> None:
    names = [name for name, _ in source.source_files(source.package_folder())]
    assert "polys/rings.py" in names
    assert not [name for name in names if "/tests/" in name or "/_antlr/" in name or "/benchmarks/" in name]
    assert "polys/polyquinticconst.py" not in names  # coefficients


def test_fingerprint_sees_names_and_bytes(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 'text'\n")
    first = source.fingerprint(tmp_path)
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_a.py").write_text("left out\n")
    assert source.fingerprint(tmp_path) == first
    (tmp_path / "a.py").rename(tmp_path / "b.py")
    renamed = source.fingerprint(tmp_path)
    (tmp_path / "b.py").write_text("x = 'texT'\n")
    assert len({first, renamed, source.fingerprint(tmp_path)}) == 3


def test_missing_package_is_one_line_that_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "PACKAGE", "no_such_package_at_all")
    with pytest.raises(DataError, match=r"pip install .* or give a file made by"):
        source.package_folder()


def test_held_out_text_is_not_train_text(source_views: Views) -> None:
    texts = [text for split in SPLITS for text in source_views["text"][split]]
    assert len(texts) == len(set(texts))


def test_held_out_functions_share_no_body_and_no_docstring_with_train(source_views: Views) -> None:
    train = "".join("".join(text.split()) for text in source_views["text"]["train"])
    for split in ("validation", "test"):
        for item in source_views["instructions"][split]:
            assert "".join(item["answer"].split()) not in train or len(item["answer"]) < 100
    known = {_docstring(item["prompt"]) for item in source_views["instructions"]["train"]}
    assert not known & {_docstring(item["prompt"]) for item in source_views["instructions"]["test"]}


def test_no_answer_occurs_twice(source_views: Views) -> None:
    answers = ["".join(item["answer"].split()) for split in SPLITS for item in source_views["instructions"][split]]
    assert len(answers) == len(set(answers))


def test_prompt_and_answer_are_one_function(source_views: Views) -> None:
    for item in source_views["instructions"]["test"]:
        (function,) = ast.parse(item["prompt"] + item["answer"]).body
        assert isinstance(function, ast.FunctionDef) and ast.get_docstring(function)
        assert len(function.body) > 1
        assert 40 <= len(item["answer"]) <= 700


def test_enough_choices_with_balanced_labels_and_no_giveaway(source_views: Views) -> None:
    items = source_views["choices"]["test"]
    assert len(items) >= 1000
    assert len(source_views["choices"]["validation"]) >= 200
    assert set(Counter(item["label"] for item in items).values()) == {len(items) // 4}
    for item in items:
        lengths = [len(option) for option in item["options"]]
        assert len(set(item["options"])) == 4
        assert max(lengths) <= 1.15 * min(lengths)
    # Every body that is an option anywhere is right exactly once and wrong exactly three times.
    right = Counter(item["options"][item["label"]] for item in items)
    shown = Counter(option for item in items for option in item["options"])
    assert set(right.values()) == {1} and set(shown.values()) == {4}


def test_right_option_belongs_to_its_prompt(source_views: Views) -> None:
    real = {(item["prompt"], item["answer"]) for item in source_views["instructions"]["test"]}
    for item in source_views["choices"]["test"]:
        matching = [(item["prompt"], option) in real for option in item["options"]]
        assert matching.index(True) == item["label"] and sum(matching) == 1
    for item in source_views["pairs"]["test"]:
        assert (item["prompt"], item["chosen"]) in real and (item["prompt"], item["rejected"]) not in real


def test_the_sides_of_a_pair_have_the_same_characters_and_words(source_views: Views) -> None:
    for split in SPLITS:
        for item in source_views["pairs"][split]:
            chosen, rejected = item["chosen"], item["rejected"]
            assert chosen != rejected and sorted(chosen) == sorted(rejected)
            assert sorted(re.findall(r"\w+", chosen)) == sorted(re.findall(r"\w+", rejected))
    prompts = [{item["prompt"] for item in source_views["pairs"][split]} for split in SPLITS]
    assert len(set.union(*prompts)) == sum(map(len, prompts)), "a prompt stands in two splits"


def test_scrambling_by_hand() -> None:
    code = "    if a:\n        return b\n    return c\n"
    lines = lines_permuted(code, "key")
    assert lines != code and sorted(lines.split("\n")) == sorted(code.split("\n")) and lines.endswith("\n")
    names = names_permuted(code, "key")
    assert re.findall(r"if|return", names) == ["if", "return", "return"] and sorted(names) == sorted(code)
    assert scrambled("    pass\n", "key") is None, "one line and no name: nothing to permute"
    assert scrambled(code, "key") == scrambled(code, "key") != code


@pytest.mark.parametrize("split", ["validation", "test"])
def test_four_bodies_of_a_group_have_four_docstrings(source_views: Views, split: str) -> None:
    items = source_views["choices"][split]
    for start in range(0, len(items), 4):
        group = items[start : start + 4]
        assert len({frozenset(item["options"]) for item in group}) == 1
        assert len({_docstring(item["prompt"]) for item in group}) == 4


def test_labels_are_the_same_few_classes_in_every_split(source_views: Views) -> None:
    train = {item["label"] for item in source_views["labels"]["train"]}
    assert len(train) == 8
    assert {item["label"] for item in source_views["labels"]["test"]} <= train


def test_copies_of_train_are_left_out_of_test() -> None:
    body = "".join(f"    value_{index} = compute_something_long(argument_{index})\n" for index in range(9))
    original = f'def first(x):\n    """One thing."""\n{body}    return value_1\n'
    copied = original.replace("first", "second").replace("One thing", "Another thing")
    own = 'def third(x):\n    """A third thing."""\n' + body.replace("value", "other").replace("compute", "make")
    modules = {"train": {"a/a.py": original}, "validation": {}, "test": {"b/b.py": copied, "b/c.py": own}}
    views = build_views(modules)
    assert views["text"]["test"] == [own]
    assert [item["prompt"].split("(")[0] for item in views["instructions"]["test"]] == ["def third"]


def _docstring(prompt: str) -> str:
    return "".join(prompt.split('"""')[1].lower().split())
