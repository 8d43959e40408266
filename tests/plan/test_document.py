from __future__ import annotations

import pytest

from harness.errors import SuiteError
from harness.plan import document
from harness.plan.document import read, read_text


def test_values_and_lines():
    found = read_text("a: 1\nb:\n  - x\n  - {c: 1e-3}\n", "s.yaml")
    assert found.value == {"a": 1, "b": ["x", {"c": 0.001}]}
    assert found.line(("b", 1, "c")) == 4
    assert found.line(("b", 0)) == 3
    assert found.line(("b", 0, "nothing", "here")) == 3


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001), ("2_000_000", 2_000_000), ("true", True), ("null", None), ("~", None), ("no", "no"),
        ("2024-01-01", "2024-01-01"), ("'1'", "1"), ('"true"', "true"), ("010", 10), ("lora > int8", "lora > int8"),
        ("-1.5", -1.5),
    ],
)  # fmt: skip
def test_scalars_have_no_surprises(text, value):
    found = read_text(f"a: {text}", "s.yaml").value["a"]
    assert found == value and type(found) is type(value)


def test_merge_keys_are_read():
    text = "one: &one {a: 1, b: 2}\ntwo: {<<: *one, b: 3}\n"
    assert read_text(text, "s.yaml").value["two"] == {"a": 1, "b": 3}


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("a: [1\nb: 2", 2, "not valid YAML"),
        ("a: 1\na: 2", 2, "the key 'a' is written twice"),
        ("a: !!python/object/apply:os.system ['true']", 1, "os.system is not allowed"),
        ("a: !mine 1", 1, "the tag !mine is not allowed"),
        ("? [a]\n: 1", 1, "a key must be a plain text"),
        ("a: &a [*a]", 1, "an alias of itself"),
        ("a: " + "[" * 40 + "]" * 40, 1, "nested more than 25 deep"),
        ("x: &x 1\ny: [" + ", ".join(["*x"] * 200) + "]", 2, "more than 100 aliases"),
    ],
)
def test_what_is_refused(text, line, message):
    with pytest.raises(SuiteError) as caught:
        read_text(text, "s.yaml").value["a"]
        pytest.fail("nothing was refused")
    assert str(caught.value).startswith(f"s.yaml:{line}: ")
    assert message in str(caught.value)


def test_aliases_cannot_multiply_without_end():
    lines = ["a0: &a0 [" + ", ".join("x" * 10) + "]"]
    lines += [f"a{n}: &a{n} [" + ", ".join([f"*a{n - 1}"] * 10) + "]" for n in range(1, 9)]
    with pytest.raises(SuiteError, match="through aliases"):
        read_text("\n".join(lines), "s.yaml")


def test_a_large_file_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(document, "LARGEST_BYTES", 10)
    (tmp_path / "s.yaml").write_text("a: 1234567890")
    with pytest.raises(SuiteError, match="13 bytes are more than it may have"):
        read(tmp_path / "s.yaml")


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(SuiteError, match="there is no such file"):
        read(tmp_path / "none.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SuiteError, match="not a text file"):
        read(tmp_path / "binary.yaml")
    with pytest.raises(SuiteError, match="cannot be read"):
        read(tmp_path)
