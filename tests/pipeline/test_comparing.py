"""``harness compare`` over a results folder: what it says, what it writes, what it refuses in one line."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import pytest

from harness.cli.comparing import show_comparison
from harness.cli.judging import Outputs
from harness.errors import UsageError


@pytest.fixture
def results(tmp_path: Path, synthetic: ModuleType) -> Path:
    synthetic.write(tmp_path / "results", methods=("base", "int8", "int4"))
    return tmp_path / "results"


def compare(results: Path, base: str, head: str, *, json: bool = False, **files: Path) -> int:
    outputs = Outputs(None, files.get("junit"), files.get("markdown"), False, json, False)
    return show_comparison(base, head, None, results, outputs)


def test_two_methods(results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = {"junit": tmp_path / "x.xml", "markdown": tmp_path / "x.md"}
    assert compare(results, "method=int8;precision=fp32", "method=int4;precision=fp32", **files) == 1
    out = capsys.readouterr().out
    assert "Base method=int8;precision=fp32: 5 records of commit 5b8a01a05b8a." in out
    assert "regression     kl_divergence of perplexity int4 @ embedded, fp32" in out and "harness accept" not in out
    assert all(file.stat().st_size for file in files.values())


def test_the_same_as_json(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = compare(results, "method=int8", "method=int4", json=True)
    told = json.loads(capsys.readouterr().out)
    assert told["exit_code"] == code == 1
    found = {(one["place"]["task"], one["place"]["precision"], one["metric"]): one for one in told["cases"]}
    worse = found["perplexity", "bf16-mixed", "kl_divergence"]
    assert worse["status"] == "regression" and 50 < worse["change"] < 120 and worse["low"] > 50
    assert found["generation_speed", "fp32", "decode_tokens_per_second"]["status"] == "insufficient"


@pytest.mark.parametrize(
    ("base", "head", "said"),
    [
        ("method=base", "method=base", "base and head are the same 8 records"),
        ("precision=fp32", "commit=5b8a", "'precision' is given on one side alone"),
        ("commit=5b8a", "python=3.11.9", "base and head are the same"),
        ("method=base", "method=int9", "did you mean 'int"),
        ("method=base", "method=bpe > clm", "have no cell in common"),
        ("nowhere", "method=base", "neither a results folder nor key=value"),
    ],
)
def test_what_cannot_be_compared(results: Path, base: str, head: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        compare(results, base, head)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_a_folder_against_another_with_fewer_cells(results: Path, tmp_path: Path, synthetic: ModuleType) -> None:
    folder = tmp_path / "new" / "synthetic" / "ffffffffffff"
    folder.mkdir(parents=True)
    for one in synthetic.records(("base", "int8"), "ffffffffffff"):
        (folder / f"{one['record']}.json").write_text(json.dumps(one))
    assert compare(results, str(results), str(tmp_path / "new")) == 3
    assert compare(results, str(tmp_path / "new"), str(results)) == 0


def test_the_command(harness, results: Path) -> None:
    done = harness("compare", "method=int8", "method=int8")
    assert done.returncode == 2 and len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert "the same" in done.stderr
