"""``docs/faults.md`` is what ``scripts/faults.py`` made, and a row that is run by itself takes its place in it."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from faults.rows import ALL
from faults.tally import Tally

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("script_of_faults", ROOT / "scripts" / "faults.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


ORDER = [row.fault for row in ALL.values()]


def test_the_committed_page_is_read_as_it_is(script: ModuleType) -> None:
    text = (ROOT / "docs" / "faults.md").read_text()
    page = script.Page.read(text)
    assert list(page.lines) == [fault for fault in ORDER if fault in page.lines] and page.machine
    again = page.text(ORDER)
    tables = [[line for line in each.splitlines() if line.startswith("| ")] for each in (text, again)]
    assert tables[0] == tables[1]
    assert script.Page.read(again) == page
    assert text.partition("## What")[2] == again.partition("## What")[2]


def test_a_row_that_is_run_afterwards_is_put_in_its_place(script: ModuleType) -> None:
    page = script.Page.read((ROOT / "docs" / "faults.md").read_text())
    row = ALL["quiet"]
    page.put(row, Tally(tried=200, held=197, seconds=170.4, breaches=["3 of 200 steps were flagged"]), afterwards=True)
    found = script.Page.read(page.text(ORDER))
    cells = [row.fault, row.must, "200", "**197**", "170", "run by itself afterwards"]
    assert found.lines[row.fault] == cells and found.wrong[row.fault] == ["- 3 of 200 steps were flagged"]
    page.put(row, Tally(tried=200, held=200, seconds=1.0, notes=["calm"]), afterwards=False)
    found = script.Page.read(page.text(ORDER))
    assert found.lines[row.fault][2:] == ["200", "200", "1", "calm"] and row.fault not in found.wrong
    assert list(found.lines) == list(page.lines)
