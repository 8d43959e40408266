"""The nights of a suite in its report: present where there are nights, and with what history says of them."""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from harness.report.build import build, compose, content_of
from harness.report.document import Document, Figure, Table
from harness.report.headline import headline
from harness.results.nights import Night, night_of, night_path

SLOWER = 14
COUNT = 26


@pytest.fixture
def results(synthetic: ModuleType, tmp_path: Path) -> Path:
    """The synthetic suite with nights in which the wall time of everything grew by a quarter."""
    synthetic.write(tmp_path, methods=("base",))
    for night in nights(synthetic):
        path = tmp_path / night_path("synthetic", night.name)
        path.parent.mkdir(exist_ok=True)
        path.write_text(night.to_json())
    return tmp_path


def nights(synthetic: ModuleType) -> list[Night]:
    found = []
    for number in range(COUNT):
        started = (datetime(2026, 2, 1, 3) + timedelta(days=number)).isoformat(timespec="milliseconds") + "Z"
        share = (1.25 if number >= SLOWER else 1.0) * (1 + 0.002 * (number * 7 % 5))
        records = []
        for one in synthetic.records(("base",)):
            if one["status"] != "done":
                continue
            metrics = one["metrics"] | {"wall_seconds": 2.0 * share}
            commit = {"sha": ("b" if number >= SLOWER else "a") * 40, "dirty": False}
            records.append(one | {"started": started, "metrics": metrics, "commit": commit})
        found.append(night_of(records))
    return found


def sections(document: Document) -> dict[str, Any]:
    return {section.title: section for section in document.sections}


def test_without_nights_there_is_no_history(synthetic: ModuleType, tmp_path: Path) -> None:
    synthetic.write(tmp_path, methods=("base",))
    titles = sections(compose(content_of(tmp_path, "synthetic")))
    assert not {"History", "Any series over the nights", "What the nights could have shown"} & set(titles)


def test_a_slow_down_is_in_the_headline_the_table_and_the_picture(results: Path) -> None:
    content = content_of(results, "synthetic")
    told = [line for line in headline(content) if re.match(r"Regression: .*: wall_seconds: ", line)]
    assert told and all(re.search(r"2\.0\d s -> 2\.5\d s \(\+25 %", line) for line in told)
    assert "since night 15 (2026-02-15 03:00)" in told[0]
    found = sections(compose(content))["History"]
    tables = [block for block in found.blocks if isinstance(block, Table)]
    worse = [row for row in tables[0].rows if row.values[0].text == "regression"]
    assert worse and all("commit aaaaaaaaaaaa -> bbbbbbbbbbbb" in row.values[-1].text for row in worse)
    (figure,) = (block for block in found.blocks if isinstance(block, Figure))
    values = [line for data in figure.specification["datasets"].values() for line in data]
    assert {line["night"] for line in values if line["change"]} == {SLOWER + 1}


def test_the_page_lets_any_series_be_picked_and_the_markdown_does_not(results: Path, tmp_path: Path) -> None:
    content = content_of(results, "synthetic")
    written = build(content, tmp_path / "out")
    page, text = (tmp_path / "out" / "index.html").read_text(), (tmp_path / "out" / "README.md").read_text()
    assert "Any series over the nights" in page and "Any series over the nights" not in text
    picked = sections(compose(content))["Any series over the nights"].blocks[0]
    options = picked.specification["params"][0]["bind"]["options"]
    assert len(options) == len(set(options)) > 4
    files = {path.name for path in written}
    assert "history.svg" in files and "any-series.svg" not in files
    assert build(content_of(results, "synthetic"), tmp_path / "again")
    for name in ("index.html", "README.md"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_an_accepted_slow_down_is_no_regression_in_the_report(results: Path) -> None:
    from harness.analyse.accepted import acceptance_of, write
    from harness.analyse.history import cases_of
    from harness.results.shared import SharedStore

    kept = SharedStore(results).nights("synthetic").nights
    worse = [case for case in cases_of(kept) if case.status == "regression"]
    day = datetime(2026, 2, 20).date()
    write(results / "accepted.yaml", [acceptance_of(case, "a <b>needed</b> check", day) for case in worse])
    content = content_of(results, "synthetic")
    assert not [line for line in headline(content) if line.startswith("Regression")]
    table = next(block for block in sections(compose(content))["History"].blocks if isinstance(block, Table))
    assert {row.values[0].text for row in table.rows} == {"accepted"}
    assert "<b>needed" not in json.dumps(build_text(content, results))


def build_text(content: Any, folder: Path) -> str:
    build(content, folder / "page")
    page = (folder / "page" / "index.html").read_text()
    start = page.index('id="history"')
    return page[start : page.index("<h2", start + 20)]
