"""Goal: 8 writers x 10^5 records, none lost and none doubled, and compaction gives the same bytes twice.

It writes 3 GB and takes the better part of an hour (every record is on the disk before its writer goes on);
HARNESS_EACH=5000 makes it short. Figures: docs/scaling.md.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import numpy
import pytest

WRITERS, EACH = 8, int(os.environ.get("HARNESS_EACH", "100000"))
WRITE = Path(__file__).parents[2] / "scripts" / "write_records.py"


def _written() -> ModuleType:
    specification = importlib.util.spec_from_file_location("write_records", WRITE)
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.mark.timeout(6 * 3600)
def test_none_lost_and_none_doubled(tmp_path: Path) -> None:
    from harness.results import load
    from harness.results.rows import compact
    from harness.results.store import Store

    Store(tmp_path).folder("many").mkdir(parents=True)
    began = time.perf_counter()
    writers = [
        subprocess.Popen([sys.executable, WRITE, tmp_path, str(writer), str(EACH)]) for writer in range(WRITERS)
    ]
    states = []
    while any(writer.poll() is None for writer in writers):
        found = compact(tmp_path, "many")
        assert not found.unreadable
        states.append(found.records)
        time.sleep(10)
    assert [writer.returncode for writer in writers] == [0] * WRITERS
    seconds = time.perf_counter() - began
    print(f"{WRITERS} writers x {EACH} records: {seconds:.0f} s, {len(states)} compactions meanwhile")
    assert states == sorted(states)
    began = time.perf_counter()
    first = compact(tmp_path, "many")
    print(f"the last of them: {first.read} records read in {time.perf_counter() - began:.1f} s")
    content = first.path.read_bytes()
    frame = load(tmp_path, "many")
    losses = numpy.sort(frame.loc[frame["metric"] == "loss", "value"].to_numpy())
    value_of = _written().value_of
    expected = numpy.sort([value_of(writer, number) for writer in range(WRITERS) for number in range(EACH)])
    assert numpy.array_equal(losses, expected)
    first.path.unlink()
    began = time.perf_counter()
    again = compact(tmp_path, "many")
    print(f"all of them anew: {again.read} records, {again.rows} rows in {time.perf_counter() - began:.1f} s")
    assert again.records == WRITERS * EACH and again.path.read_bytes() == content
