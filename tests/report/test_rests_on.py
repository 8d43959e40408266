"""A page names the records that it rests on, and what cleaning leaves is enough to write it again."""

from __future__ import annotations

import json
import time
from pathlib import Path
from types import ModuleType

import pytest

from harness.report import writing
from harness.report.build import build_suite, content_of
from harness.report.rests_on import rests_on
from harness.results.clean import Limits, choose, take
from harness.results.inventory import stock
from harness.results.keep import reasons
from harness.results.made import size_of
from harness.results.named import FILE, named_by
from harness.results.store import Store

METHODS = ("base", "lora", "int8", "int4")


@pytest.fixture
def results(tmp_path: Path, synthetic: ModuleType) -> Path:
    """A suite in which every third step was tried before, the first time by another command and with another metric."""
    root = tmp_path / "results"
    synthetic.write(root, methods=METHODS)
    folder = root / "synthetic" / synthetic.INSTALLATION
    for number, path in enumerate(sorted(folder.glob("*.1.json"))[::3]):
        record = json.loads(path.read_text())
        again = record | {"record": f"{record['step']}.2", "attempt": 2}
        (folder / f"{again['record']}.json").write_text(json.dumps(again))
        before = record | {"status": "failed", "reason": "it was cold", "started": "2026-11-22T10:00:00.000Z"}
        if number == 0:
            before |= {"command": ["harness", "run", "before"], "metrics": {"fertility": 1.5}}
        path.write_text(json.dumps(before))
    other = synthetic.record("eval", "base", task="perplexity", installation="ffffffffffff", metrics={"loss": 2.0})
    (root / "synthetic" / "ffffffffffff").mkdir()
    for attempt in (1, 2):
        theirs = other | {"record": f"{other['step']}.{attempt}", "attempt": attempt}
        theirs["started"] = "2026-11-01T00:00:00.000Z"
        (root / "synthetic" / "ffffffffffff" / f"{theirs['record']}.json").write_text(json.dumps(theirs))
    return root


def pages(reports: Path) -> dict[str, bytes]:
    return {str(path.relative_to(reports)): path.read_bytes() for path in sorted(reports.rglob("*")) if path.is_file()}


def test_a_page_names_what_decides_and_not_what_was_before(
    results: Path, tmp_path: Path, synthetic: ModuleType
) -> None:
    build_suite(results, "synthetic", tmp_path / "reports")
    named = {name for _, owner, name in named_by(tmp_path / "reports").records if owner == synthetic.INSTALLATION}
    latest: dict[str, int] = {}
    for path in (results / "synthetic" / synthetic.INSTALLATION).glob("*.*.json"):
        step, attempt, _ = path.name.split(".")
        latest[step] = max(latest.get(step, 0), int(attempt))
    deciding = {f"{step}.{attempt}" for step, attempt in latest.items()}
    assert deciding <= named
    assert len(named - deciding) == 2, "the first one of each of the two commands that the page quotes"


def test_a_report_is_written_again_from_what_cleaning_leaves(
    results: Path, tmp_path: Path, synthetic: ModuleType
) -> None:
    reports = tmp_path / "reports"
    build_suite(results, "synthetic", reports)
    before, held = pages(reports), len(list(results.rglob("*.json")))
    (results / "synthetic" / synthetic.INSTALLATION / "plan.json").rename(tmp_path / "plan.json")
    store = Store(results)
    items = stock(store)
    for limits in (Limits(attempts=1), Limits(seconds=0.0)):
        take(store, choose(items, reasons(store, items, [reports]), limits, size_of(results), time.time() + 1e9))
    assert len(list(results.rglob("*.json"))) < held - 10
    (tmp_path / "plan.json").rename(results / "synthetic" / synthetic.INSTALLATION / "plan.json")
    build_suite(results, "synthetic", reports)
    assert pages(reports) == before
    assert rests_on(content_of(results, "synthetic")) == sorted(named_by(reports).records)


@pytest.mark.slow
def test_until_a_page_is_written_the_records_of_both_are_named(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reports = tmp_path / "reports"
    build_suite(results, "synthetic", reports)
    before = set(named_by(reports).records)
    every = sorted(results.rglob("*.1.json"))
    gone = next(path for path in every if ("synthetic", path.parent.name, path.stem) in before)
    gone.unlink()

    real = writing._write

    def killed(root: Path, path: Path, text: str) -> Path:
        if path.name != FILE:
            raise KeyboardInterrupt
        return real(root, path, text)

    monkeypatch.setattr(writing, "_write", killed)
    with pytest.raises(KeyboardInterrupt):
        build_suite(results, "synthetic", reports)
    monkeypatch.undo()
    assert set(named_by(reports).records) >= before
    build_suite(results, "synthetic", reports)
    assert ("synthetic", gone.parent.name, gone.stem) not in named_by(reports).records

