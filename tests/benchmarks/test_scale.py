"""Goals: 10^6 rows of real-sized records load and aggregate in 3 s, and become a report in 10 s under 1 GB.

The records are those of the generated suite (harness.specimen), 12 500 of them with 10^6 rows: as nights leave them
(52 cells, each step measured 48 times), and as one sweep of 2 500 cells does, whose report misses the seconds and is
only held to the memory. What must be fast is measured in processes of its own, where nothing is warm but the files.
Figures: docs/scaling.md.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

SHAPES = {"nights": (52, 48), "sweep": (2_500, 1)}  # cells, attempts
ROWS = 1_000_000
AGGREGATE_SECONDS, REPORT_SECONDS, REPORT_BYTES = 3.0, 10.0, 10**9
NEW = 125

AGGREGATE = """
import sys, time
from harness.results import load
began = time.perf_counter()
frame = load(sys.argv[1], "specimen")
values = frame[frame["status"] == "done"].groupby(["method", "metric"], observed=True)["value"]
means = values.agg(["mean", "std", "count"])
print(len(frame), len(means), time.perf_counter() - began)
"""
REPORT = """
import sys
from harness.cli.reporting import content
from harness.report.build import build
from pathlib import Path
build(content("specimen", Path(sys.argv[1]), "0" * 12), Path(sys.argv[2]) / "specimen")
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def generate(root: Path, cells: int, attempts: int = 1) -> int:
    """A results folder of the generated suite, written without waiting for the disk; the number of its records."""
    from harness import specimen
    from harness.plan.plan import plan
    from harness.plan.suite import load_text

    planned = plan(load_text(specimen.suite(cells).replace("question", "name: specimen\nquestion", 1)))
    folder = root / "specimen" / specimen.INSTALLATION
    folder.mkdir(parents=True)
    steps = [step.to_dict() for step in planned.steps] * attempts
    for number, step in enumerate(steps):
        attempt = 1 + number // len(planned.steps)
        record = specimen.record(step, number, "specimen")
        record |= {"attempt": attempt, "record": f"{step['id']}.{attempt}"}
        (folder / f"{record['record']}.json").write_text(json.dumps(record, separators=(",", ":")))
    (folder / "plan.json").write_text(json.dumps(planned.to_dict()))
    (root / ".cache").mkdir()
    (root / ".cache" / "installation").write_text(specimen.INSTALLATION)
    return len(steps)


@pytest.fixture(scope="module", params=SHAPES)
def results(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from harness.results.rows import compact

    root = tmp_path_factory.mktemp(request.param)
    number = generate(root, *SHAPES[request.param])
    began = time.perf_counter()
    found = compact(root, "specimen")
    print(f"compaction of {number} records, {found.rows} rows: {time.perf_counter() - began:.1f} s")
    assert found.read == number and found.rows > 0.95 * ROWS and not found.unreadable
    return root


def run(code: str, *arguments: object) -> tuple[list[str], float]:
    began = time.perf_counter()
    command = [sys.executable, "-c", code, *map(str, arguments)]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return told.splitlines()[-1].split(), time.perf_counter() - began


def test_a_million_rows_load_and_aggregate(results: Path) -> None:
    found, whole = min((run(AGGREGATE, results) for _ in range(3)), key=lambda pair: float(pair[0][2]))
    print(f"load and aggregate {found[0]} rows: {found[2]} s; the whole process {whole:.1f} s")
    assert float(found[2]) < AGGREGATE_SECONDS


def test_a_report_of_a_million_rows(results: Path, tmp_path: Path) -> None:
    (peak,), seconds = run(REPORT, results, tmp_path)
    print(f"report: {seconds:.1f} s, {int(peak) / 1024:.0f} MiB")
    assert (tmp_path / "specimen" / "index.html").is_file()
    if not results.name.startswith("sweep"):
        assert seconds < REPORT_SECONDS
    assert int(peak) * 1024 < REPORT_BYTES


def test_new_records_cost_what_they_are_and_not_what_there_is(results: Path) -> None:
    from harness.results.rows import compact

    folder = next((results / "specimen").glob("0*"))
    before = compact(results, "specimen")
    for path in sorted(folder.glob("*.1.json"))[:NEW]:
        again = path.read_text().replace(f'"record":"{path.name[:-5]}"', f'"record":"{path.name[:-7]}.999"', 1)
        again = again.replace('"attempt":1', '"attempt":999', 1)
        path.with_name(path.name.replace(".1.json", ".999.json")).write_text(again)
    began = time.perf_counter()
    found = compact(results, "specimen")
    print(f"{NEW} new records in {found.records}: {time.perf_counter() - began:.1f} s")
    assert found.read == NEW and found.records == before.records + NEW
