"""``harness nightly``, ``history`` and ``accept`` as a CI machine calls them, on a tokenizer suite of a second."""

from __future__ import annotations

import json
import shutil
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fakes.small_suite import write_suite

Harness = Callable[..., Any]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A suite and its data."""
    write_suite(tmp_path, "tiny")
    return tmp_path


def nights(folder: Path, store: str = "results") -> list[Path]:
    return sorted((folder / store / "tiny" / "nights").glob("*.json"))


def slowed(path: Path, number: int, share: float) -> None:
    """A night like another one, some days later and slower: the clock is the only thing that is invented."""
    night = json.loads(path.read_text())
    started = f"2027-01-{number + 1:02d}T03:00:00.000Z"
    night["started"] = started
    night["night"] = f"{started.replace('-', '').replace(':', '')}-{night['installation']}"
    for step in night["steps"]:
        for name in step["values"]:
            if name == "wall_seconds":
                step["values"][name] *= (1 + 0.001 * (number * 7 % 5)) / share
    (path.parent / f"{night['night']}.json").write_text(json.dumps(night))


def test_a_night_is_kept_and_the_next_one_compared(harness: Harness, folder: Path) -> None:
    first = harness("nightly", "tiny.yaml", "--junit", "junit.xml", "--markdown", "summary.md", "--annotations")
    assert first.returncode == 0, first.stderr
    assert len(nights(folder)) == 1
    told = json.loads(nights(folder)[0].read_text())
    records = [json.loads(path.read_text()) for path in (folder / "results" / "tiny").glob("*/*.json")
               if path.parent.name != "nights" and path.name != "plan.json"]  # fmt: skip
    values = {record["record"]: record["metrics"] for record in records}
    for step in told["steps"]:
        assert step["values"] == {name: value for name, value in values[step["record"]].items() if value is not None}
    assert {step["record"] for step in told["steps"]} == set(values)
    cases = ElementTree.parse(folder / "junit.xml").getroot().iter("testcase")
    assert len(list(cases)) > 5
    assert "insufficient" in (folder / "summary.md").read_text()
    second = harness("nightly", "tiny.yaml", "--json")
    assert second.returncode == 0, second.stderr
    assert json.loads(second.stdout)["nights"] == 2
    assert len(nights(folder)) == 2, "the second night measured everything again"
    report = (folder / "reports" / "tiny" / "README.md").read_text()
    assert "## History" in report and "2 nights from" in report


@pytest.mark.slow
def test_a_slow_down_fails_is_shown_and_can_be_accepted(harness: Harness, folder: Path) -> None:
    assert harness("nightly", "tiny.yaml", "--no-report").returncode == 0
    one = nights(folder)[0]
    for number in range(22):
        slowed(one, number, 1.0 if number < 14 else 0.8)
    one.unlink()
    found = harness("history", "tiny", "--report", "--annotations")
    assert found.returncode == 1, found.stdout + found.stderr
    assert "regression" in found.stdout and "2027-01-15".replace("-", "") in found.stdout
    assert any(line.startswith("::error") for line in found.stdout.splitlines())
    page = (folder / "reports" / "tiny" / "index.html").read_text()
    assert "Any series over the nights" in page and "history_0" in page
    cases = json.loads(harness("history", "tiny", "--json").stdout)["cases"]
    worse = [case for case in cases if case["status"] == "regression"]
    assert [case["metric"] for case in worse] == ["wall_seconds", "wall_seconds"]
    for case in worse:
        assert case["change"] == pytest.approx(0.25, abs=0.01)
        done = harness("accept", case["id"][:8], "--reason", "needed for safety", "--days", "400")
        assert done.returncode == 0, done.stderr
    assert harness("history", "tiny").returncode == 0
    assert "needed for safety" in (folder / "results" / "accepted.yaml").read_text()


@pytest.mark.slow
def test_a_store_elsewhere_serves_a_machine_that_remembers_nothing(harness: Harness, folder: Path) -> None:
    assert harness("nightly", "tiny.yaml", "--store", "kept", "--no-report").returncode == 0
    assert len(nights(folder, "kept")) == 1 and not nights(folder)
    assert list((folder / "kept" / "tiny").glob("*/*.1.json")), "the records are kept too"
    shutil.rmtree(folder / "results")
    again = harness("nightly", "tiny.yaml", "--store", "kept", "--json", "--no-report")
    assert json.loads(again.stdout)["nights"] == 2


def test_bad_input_is_one_line(harness: Harness, folder: Path) -> None:
    def said(*arguments: str) -> str:
        done = harness(*arguments)
        assert done.returncode in (2, 3), done.stdout + done.stderr
        lines = done.stderr.strip().splitlines()
        assert len(lines) == 1 and lines[0].startswith("harness: "), done.stderr
        return str(lines[0])

    assert "no nights of suite 'tiny'" in said("history", "tiny.yaml")
    assert "no series 'abc'" in said("accept", "abc", "--reason", "x")
    assert harness("nightly", "tiny.yaml", "--no-report").returncode == 0
    slowed(nights(folder)[0], 0, 1.0)
    assert "the clock says" in said("nightly", "tiny.yaml")
    (later,) = [path for path in nights(folder) if path.name.startswith("2027")]
    assert f"Night {later.stem} began after now" in harness("history", "tiny").stdout
    told = json.loads(later.read_text())
    stranger = told | {"machines": {}, "steps": [{**step, "hard": ""} for step in told["steps"]]}
    later.write_text(json.dumps(stranger))
    unknown = harness("history", "tiny")
    assert unknown.returncode == 3 and "steps say nothing of their machine and are left out" in unknown.stdout
    assert "nothing of the last night can be judged" in unknown.stdout
    later.write_text(json.dumps(told))
    later.write_text(json.dumps(told | {"format": 9}))
    assert "format 9" in said("history", "tiny")
    later.unlink()
    (folder / "results" / "accepted.yaml").write_text("- {}\n")
    assert "entry 1" in said("history", "tiny")


@pytest.mark.slow
def test_a_stopped_night_is_gone_on_with_and_a_kept_one_is_not(harness: Harness, folder: Path) -> None:
    """What the interrupted process left behind decides: a beginning without a night, or one whose night is kept."""
    unfinished = folder / "results" / ".cache" / "nights" / "tiny.json"
    began = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    assert harness("run", "tiny.yaml", "--no-report").returncode == 0
    unfinished.parent.mkdir(parents=True)
    unfinished.write_text(json.dumps({"since": began}))
    resumed = harness("nightly", "tiny.yaml", "--no-report")
    assert "nothing to run: 2 steps done already" in resumed.stdout, resumed.stdout + resumed.stderr
    (one,) = nights(folder)
    assert not unfinished.exists()
    unfinished.write_text(json.dumps({"since": began}))
    assert "2 done" in harness("nightly", "tiny.yaml", "--no-report").stdout
    assert len(nights(folder)) == 2 and one in nights(folder)


@pytest.mark.slow
def test_a_hostile_night_shows_its_text_on_one_line_and_says_nothing_to_the_workflow(
    harness: Harness, folder: Path
) -> None:
    """A store is written by many machines: names in a night are text, whatever is in them."""
    assert harness("nightly", "tiny.yaml", "--no-report").returncode == 0
    one = nights(folder)[0]
    for number in range(22):
        slowed(one, number, 1.0 if number < 14 else 0.8)
    one.unlink()
    for path in nights(folder):
        night = json.loads(path.read_text())
        for step in night["steps"]:
            step["coordinates"]["method"] = "a\n::error::b\x1b[31m<script>alert(1)</script>|c"
        path.write_text(json.dumps(night))
    found = harness("history", "tiny", "--report", "--markdown", "out.md", "--junit", "out.xml")
    assert found.returncode == 1 and "Traceback" not in found.stderr, found.stderr
    assert "\x1b" not in found.stdout
    assert not [line for line in found.stdout.splitlines() if line.startswith("::")]
    page = (folder / "reports" / "tiny" / "index.html").read_text()
    assert "<script>alert(1)" not in page and "<script>alert(1)" not in (folder / "out.md").read_text()
    assert ElementTree.parse(folder / "out.xml").getroot() is not None
