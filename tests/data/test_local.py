"""Local files: every format, the mapping of columns, splits, and one clear line for everything wrong."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from harness.contract import Dataset
from harness.data import open_dataset, views_of
from harness.data.splits import SPLITS
from harness.errors import DataError

ROWS = [{"question": f"What is {n} + {n}?", "reply": f"It is {2 * n}.", "n": n} for n in range(200)]
COLUMNS = {"prompt": "question", "answer": "reply"}


def opened(path: Path, **spec: Any) -> Dataset:
    return open_dataset({"kind": "local", "path": str(path), **spec}, cache=path.parent)


def write(folder: Path, ending: str, rows: list[dict[str, Any]]) -> Path:
    path = folder / f"rows.{ending}"
    if ending == "jsonl":
        path.write_text("\n".join(map(json.dumps, rows)) + "\n")
    elif ending == "json":
        path.write_text(json.dumps(rows))
    elif ending == "parquet":
        import pyarrow
        from pyarrow import parquet

        parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    else:
        with path.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, list(rows[0]), delimiter="\t" if ending == "tsv" else ",")
            writer.writeheader()
            writer.writerows(rows)
    return path


@pytest.mark.parametrize("ending", ["jsonl", "json", "csv", "tsv", "parquet"])
def test_every_format_gives_the_same_items(tmp_path: Path, ending: str) -> None:
    dataset = opened(write(tmp_path, ending, ROWS), columns=COLUMNS)
    items = [item for split in SPLITS for item in dataset.view("instructions", split)]
    expected = [{"prompt": row["question"], "answer": row["reply"]} for row in ROWS]
    assert sorted(items, key=str) == sorted(expected, key=str)
    assert dataset.views() == ("instructions",)


def test_splits_are_made_once_and_equal_questions_stay_together(tmp_path: Path) -> None:
    rows = [{"question": f"q{n % 50}", "reply": f"r{n}"} for n in range(500)]
    dataset = opened(write(tmp_path, "jsonl", rows), columns=COLUMNS)
    asked = [{item["prompt"] for item in dataset.view("instructions", split)} for split in SPLITS]
    assert sum(map(len, asked)) == len(set.union(*asked)) == 50
    shorter = opened(write(tmp_path, "json", rows[:300]), columns=COLUMNS)
    for split, known in zip(SPLITS, asked, strict=True):
        assert {item["prompt"] for item in shorter.view("instructions", split)} <= known


def test_mapping_decides_the_views() -> None:
    spec = {"kind": "local", "path": "x.csv"}
    assert views_of(spec) == ("text",)
    assert views_of(spec | {"columns": {"text": "a", **COLUMNS}}) == ("text", "instructions")
    assert views_of(spec | {"columns": {"text": "a", "label": "b"}}) == ("text", "labels")
    assert views_of(spec | {"view": "pairs"}) == ("pairs",)


def test_joined_columns_and_labels(tmp_path: Path) -> None:
    rows = [{"a": "do", "b": "this" if n % 2 else "", "c": n} for n in range(2)]
    path = write(tmp_path, "jsonl", rows)
    dataset = opened(path, split={"test": path.name}, columns={"text": ["a", "b"], "label": "c"})
    assert dataset.view("labels", "test") == [{"text": "do", "label": "0"}, {"text": "do\nthis", "label": "1"}]


def test_choices_from_jsonl_and_from_csv(tmp_path: Path) -> None:
    row = {"prompt": "p", "options": ["x", "y"], "label": 1}
    for ending, given in (("jsonl", row), ("csv", row | {"options": json.dumps(row["options"])})):
        path = write(tmp_path, ending, [given])
        assert opened(path, view="choices", split={"test": path.name}).view("choices", "test") == [row]


def test_text_is_dealt_by_paragraph(tmp_path: Path) -> None:
    paragraphs = [f"Paragraph {n}.\nIts second line." for n in range(300)]
    path = tmp_path / "book.txt"
    path.write_bytes("\r\n\r\n".join(paragraph.replace("\n", "\r\n") for paragraph in paragraphs).encode())
    dataset = opened(path)
    found = [part for split in SPLITS for text in dataset.view("text", split) for part in text.split("\n\n")]
    assert sorted(found) == sorted(paragraphs)
    assert len(dataset.view("text", "train")) < 100  # runs of neighbours stay together


def test_named_files(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.txt").write_text("\n\n".join(f"{name} {n}" for n in range(100)))
    spec = {"kind": "local", "split": {"train": str(tmp_path / "a.txt"), "test": str(tmp_path / "b.txt")}}
    dataset = open_dataset(spec, cache=tmp_path)
    assert dataset.view("text", "test") == ["\n\n".join(f"b {n}" for n in range(100))]
    validation = {part for text in dataset.view("text", "validation") for part in text.split("\n\n")}
    train = {part for text in dataset.view("text", "train") for part in text.split("\n\n")}
    assert validation and not validation & train and len(validation | train) == 100


def test_named_files_share_no_row(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps({"text": f"t{n}"}) for n in range(50)))
    (tmp_path / "b.jsonl").write_text("\n".join(json.dumps({"text": f"t{n}"}) for n in range(40, 60)))
    spec = {"kind": "local", "path": str(tmp_path), "split": {"train": "a.jsonl", "test": "b.jsonl"}}
    assert open_dataset(spec, cache=tmp_path).view("text", "test") == [f"t{n}" for n in range(50, 60)]


def test_fingerprint_follows_content_and_mapping(tmp_path: Path) -> None:
    path = write(tmp_path, "jsonl", ROWS)
    marks = {opened(path, columns=columns).fingerprint for columns in (COLUMNS, {"text": "question"})}
    write(tmp_path, "jsonl", ROWS[1:])
    marks.add(opened(path, columns=COLUMNS).fingerprint)
    assert len(marks) == 3


WRONG: list[tuple[str, str, dict[str, Any], str]] = [
    ("a.jsonl", '{"text": "x"}\n{"text": ', {}, r"a\.jsonl:2: not valid JSON"),
    ("a.jsonl", "[1, 2]\n", {}, "a.jsonl:1: an object with named fields is needed, not list"),
    ("a.json", '{"x": 1}', {}, "must hold a list of objects"),
    ("a.jsonl", '{"content": "x"}', {}, r"no column 'text'.*it has: content"),
    ("a.jsonl", '{"texts": "x"}', {}, "no column 'text'; did you mean 'texts'"),
    ("a.jsonl", '{"text": {"a": 1}}', {}, "row 1, column 'text' holds dict, not text"),
    ("a.jsonl", '{"text": "x"}', {"columns": {"promt": "text"}}, "unknown field 'promt'; did you mean 'prompt'"),
    ("a.jsonl", '{"text": "x"}', {"columns": {"prompt": "text"}}, "make no view"),
    ("a.jsonl", '{"text": "x"}', {"columns": {"prompt": "text"}, "view": "pairs"}, "needs the field 'chosen' too"),
    ("a.jsonl", '{"text": "x"}', {"view": "pair"}, "unknown view 'pair'; did you mean 'pairs'"),
    ("a.jsonl", '{"prompt": "p", "options": "x", "label": 0}', {"view": "choices"}, "list of at least two texts"),
    ("a.jsonl", '{"prompt": "p", "options": ["x", "y"], "label": 2}', {"view": "choices"}, "label 2 is not one of"),
    ("a.jsonl", "\n", {}, "has no text"),
    ("a.csv", "text\n", {}, "has no text"),
    ("a.txt", " \n\n \n", {}, "has no text"),
    ("a.txt", "x", {"columns": {"prompt": "a", "answer": "b"}}, "plain text: it has the view 'text' only"),
    ("a.docx", "x", {}, "unknown format 'docx'"),
    ("a.data", "x", {"format": "jsnl"}, "unknown format 'jsnl'; did you mean 'jsonl'"),
    ("a.parquet", "not parquet", {}, "cannot be read as Parquet"),
    ("a.csv", 'text\n"unclosed', {}, "cannot be read as CSV"),
    ("a.jsonl", '{"text": "x"}', {"split": {"dev": "a.jsonl"}}, "split: unknown 'dev'"),
]


@pytest.mark.parametrize(("name", "content", "spec", "message"), WRONG)
def test_one_clear_line(tmp_path: Path, name: str, content: str, spec: dict[str, Any], message: str) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(DataError, match=message) as caught:
        dataset = opened(path, **spec)
        for split in SPLITS:
            dataset.items(dataset.views()[0], split)  # type: ignore[attr-defined]
    assert "\n" not in str(caught.value)


def test_missing_file_and_empty_split_and_bad_bytes(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        opened(tmp_path / "nothing.txt")
    path = write(tmp_path, "jsonl", ROWS)
    with pytest.raises(DataError, match="no item in the train split of the view 'instructions'"):
        opened(path, columns=COLUMNS, split={"test": path.name}).view("instructions", "train")
    (tmp_path / "latin.txt").write_bytes("é".encode("latin-1"))
    with pytest.raises(DataError, match="not UTF-8 text"):
        opened(tmp_path / "latin.txt").view("text", "train")


def test_real_files(real_data: Path) -> None:
    sums = {"train": "train.jsonl", "test": "test.jsonl"}
    gsm8k = opened(real_data / "gsm8k", split=sums, columns={"prompt": "question", "answer": "answer"})
    assert len(gsm8k.view("instructions", "test")) == 1319
    assert len(gsm8k.view("instructions", "train")) + len(gsm8k.view("instructions", "validation")) == 7473
    bank = opened(real_data / "banking77" / "train.csv", columns={"text": "text", "label": "category"})
    assert len({item["label"] for item in bank.view("labels", "train")}) == 77
    e2e = opened(real_data / "e2e-nlg" / "devset.csv", columns={"source": "mr", "target": "ref"})
    sources = [{item["source"] for item in e2e.view("text_to_text", split)} for split in SPLITS]
    assert not sources[0] & sources[2]
    names = {"prompt": ["instruction", "input"], "answer": "output"}
    alpaca = opened(real_data / "instructions" / "alpaca_en_demo.json", columns=names)
    assert sum(len(alpaca.view("instructions", split)) for split in SPLITS) > 950
    news = opened(real_data / "turkish-news", split={"train": "val.jsonlines", "test": "test.jsonlines"})
    assert "ı" in news.view("text", "test")[0]
    assert opened(real_data / "tinyshakespeare" / "input.txt").view("text", "test")


TALK = [{"from": "human", "value": "Hello"}, {"from": "gpt", "value": "Hi"}, {"from": "human", "value": "Why?"}]


def test_pairs_of_conversations(tmp_path: Path) -> None:
    """Both common ways of writing a message; an answer may repeat the conversation before it."""
    asked = [{"role": "user", "content": "Why?"}]
    rows = [
        {"talk": TALK, "good": {"from": "gpt", "value": "So."}, "bad": {"from": "gpt", "value": "No."}},
        {"talk": asked, "good": [*asked, {"role": "assistant", "content": "So."}], "bad": "No."},
        {"talk": "Why?", "good": "So.", "bad": ""},
    ]
    path = write(tmp_path, "json", rows)
    columns = {"prompt": "talk", "chosen": "good", "rejected": "bad"}
    dataset = opened(path, view="pairs", columns=columns, split={"test": path.name})
    first, second, third = dataset.view("pairs", "test")
    assert [message["role"] for message in first["prompt"]] == ["user", "assistant", "user"]
    assert second == {"prompt": [{"role": "user", "content": "Why?"}], "chosen": "So.", "rejected": "No."}
    assert third["rejected"] == "", "whoever trains on it says that a side is empty"


@pytest.mark.parametrize(
    ("chosen", "told"),
    [
        ({"from": "robot", "value": "x"}, "column 'chosen': a message needs role and content, or from and value"),
        ([{"role": "user", "content": "x"}], "the last message is the user's, an answer is the assistant's"),
        ([], "a conversation without a message"),
        (3, "holds int, not text or messages"),
    ],
)
def test_what_is_no_conversation_is_said(tmp_path: Path, chosen: Any, told: str) -> None:
    path = write(tmp_path, "json", [{"prompt": "p", "chosen": chosen, "rejected": "r"}])
    with pytest.raises(DataError, match=told):
        opened(path, view="pairs", split={"test": path.name}).view("pairs", "test")
