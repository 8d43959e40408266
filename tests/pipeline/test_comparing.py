"""``harness compare`` over a results folder: what it says, what it writes, what it refuses in one line."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

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
    series = "perplexity int4 @ embedded, source, fp32, cpu(threads=2): kl_divergence"
    assert f"regression     {series}: " in out and "harness accept" not in out
    texts = [file.read_text() for file in files.values()]
    assert all("regression" in text and "harness accept" not in text for text in texts)


def test_annotations_do_not_advise_what_cannot_be_done(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outputs = Outputs(None, None, None, True, False, False)
    assert show_comparison("method=int8;precision=fp32", "method=int4;precision=fp32", None, results, outputs) == 1
    out = capsys.readouterr().out
    assert "::error title=regression" in out and "harness accept" not in out


def edited(results: Path, head: Path, synthetic: ModuleType, **changes: Any) -> Path:
    """The results again in another folder, every record with these fields."""
    folder = head / "synthetic" / "ffffffffffff"
    folder.mkdir(parents=True)
    for one in synthetic.records(("base", "int8"), "ffffffffffff"):
        (folder / f"{one['record']}.json").write_text(json.dumps(one | changes))
    return head


def test_a_head_that_got_nothing_done_is_an_error_and_not_wrong_use(
    results: Path, tmp_path: Path, synthetic: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    idle = edited(results, tmp_path / "idle", synthetic, status="skipped", reason="no GPU")
    assert compare(results, str(results), str(idle)) == 3
    assert "skipped: no GPU" in capsys.readouterr().out
    again = {"status": "skipped", "reason": "no GPU", "started": "2026-11-25T22:00:00.000Z"}
    other = edited(results, tmp_path / "other", synthetic, **again)
    with pytest.raises(UsageError, match=r"have \d+ cells in common, and no number to compare: \d+ not done in"):
        compare(results, str(idle), str(other))


def test_two_machines_may_be_compared(
    results: Path, tmp_path: Path, synthetic: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    hard = synthetic.ENVIRONMENT["hard"] | {"cores": 64}
    there = {"installation": "ffffffffffff", "hard": hard, "hard_id": "9" * 12}
    edited(results, results, synthetic, environment=synthetic.ENVIRONMENT | there)
    here = synthetic.ENVIRONMENT["hard_id"]
    base, head = (f"environment={one};method=int8" for one in (here, "9" * 12))
    assert compare(results, base, head) == 0
    out = capsys.readouterr().out
    assert "Times and memory are left out, which other hard facts decide: cores" in out and "refused" not in out


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
