"""The section on the noise of the machine: the last self-test on the same hard facts, or nothing."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from harness.report.build import compose, content_of
from harness.report.document import Bullets, Paragraph, Table
from harness.report.noise import TITLE, in_words, noise
from harness.report.numbers import pretty
from harness.report.pages import markdown
from harness.results.rows import frame_of

WALLS = (2.0, 2.1, 1.9, 2.05)


@pytest.fixture
def results(synthetic: ModuleType, tmp_path: Path) -> Path:
    """The synthetic suite beside a self-test of four repeats on the same hard facts."""
    synthetic.write(tmp_path, methods=("base",))
    measure(tmp_path, synthetic)
    return tmp_path


def measure(results: Path, synthetic: ModuleType, **changes: Any) -> None:
    folder = results / "selftest" / synthetic.INSTALLATION
    folder.mkdir(parents=True)
    for number, wall in enumerate(WALLS, start=1):
        numbers = {"wall_seconds": wall, "perplexity": 7.4, "supervisor_cpu_share": 0.004}
        record = synthetic.record(
            "eval", "base", task="perplexity", attempt=number, suite="selftest", metrics=numbers,
            started=f"2026-11-25T10:0{number}:00.000Z", **changes,
        )  # fmt: skip
        (folder / f"{record['record']}.json").write_text(json.dumps(record))


def test_it_stands_before_the_machine_and_says_what_was_measured(results: Path) -> None:
    sections = {one.title: one for one in compose(content_of(results, "synthetic")).sections}
    assert list(sections)[list(sections).index(TITLE) + 1] == "Machine, versions and commands"
    found = sections[TITLE]
    (table,) = (block for block in found.blocks if isinstance(block, Table))
    (row,) = table.rows
    told = [value.text for value in row.values]
    spread = statistics.stdev(WALLS) / statistics.fmean(WALLS)
    assert told[:5] == ["perplexity base @ embedded, fp32", "Wall time", "4", "2.02 s", pretty(spread, "share", 2)]
    (said,) = (block.items for block in found.blocks if isinstance(block, Bullets))
    assert "Self-test of 4 repeats from 2026-11-25T10:01:00.000Z" in said[0] and "commit 5b8a01a05b8a" in said[0]
    assert any("1 numbers of quality" in line for line in said)
    assert any("took 0.40 % of a core (the goal of 1 % is met)" in line for line in said)


def test_the_same_records_give_the_same_text(results: Path) -> None:
    one, other = (markdown(compose(content_of(results, "synthetic"))) for _ in range(2))
    assert one == other and f"## {TITLE}" in one


def test_another_machines_self_test_is_not_shown(synthetic: ModuleType, tmp_path: Path) -> None:
    """In its place stands that none was measured here, and the command that does."""
    synthetic.write(tmp_path, methods=("base",))
    without = noise(content_of(tmp_path, "synthetic"))
    (said,) = without.blocks
    assert isinstance(said, Paragraph) and "No self-test was measured on this machine. `harness selftest`" in said.text
    measure(tmp_path, synthetic, environment={**synthetic.ENVIRONMENT, "hard_id": "another"})
    assert noise(content_of(tmp_path, "synthetic")) == without


def test_what_should_repeat_and_does_not_is_said(synthetic: ModuleType) -> None:
    from harness.analyse.selftest import self_test

    records = [
        synthetic.record("eval", "base", task="perplexity", attempt=number, metrics={"perplexity": 7.0 + number})
        for number in (1, 2)
    ]
    found = self_test(frame_of(records), synthetic.INSTALLATION)
    assert any("did not repeat: Perplexity of perplexity base @ embedded, fp32." in line for line in in_words(found))
