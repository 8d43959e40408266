"""Something else uses the machine while a step runs: it is flagged, and nothing is flagged where there is nothing."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fakes.jobs import make_job

from faults import evidence
from faults.tally import Tally, World, fault
from harness.results.record import disturbed

FLAGGED, FALSELY = 0.95, 0.01
STEP_SECONDS = 0.8
LOOK_SECONDS = 2.0
BUSY = 0.05  # share of the cores above which a machine is not quiet
BURNERS = {
    "CPU": "while True: pass",
    "memory": "held = bytearray(1 << 28)\nwhile True:\n    for at in range(0, 1 << 28, 4096): held[at] = 1",
}


@fault(
    "a neighbour burning CPU or memory", f"flagged in >= {FLAGGED:.0%} of runs", short=2, long=100,
)  # fmt: skip
def neighbour(world: World, rounds: int) -> Tally:
    """Steps that sleep beside a process that does not."""
    tally = Tally()
    for kind, code in BURNERS.items():
        with _burning(code):
            found = _steps(world, max(1, rounds // len(BURNERS)))
        flagged = sum(map(disturbed, found))
        tally.tried += len(found)
        tally.held += flagged
        if flagged < FLAGGED * len(found):
            tally.breaches.append(f"{kind}: {flagged} of {len(found)} steps were flagged")
    return tally


@fault("no neighbour", f"flagged in <= {FALSELY:.0%} of runs", short=2, long=200, alone=True)
def quiet(world: World, rounds: int) -> Tally:
    """The same steps with nothing beside them, on a machine that is quiet before and after."""
    tally = Tally()
    if (before := _busy_share()) > BUSY:
        tally.notes.append(f"not tried: other work used {before:.0%} of the cores")
        return tally
    found = _steps(world, rounds)
    flags = [record["flags"] for record in found if disturbed(record)]
    if flags and (after := _busy_share()) > BUSY:
        tally.notes.append(f"does not count: other work used {after:.0%} of the cores at the end")
        return tally
    tally.tried, tally.held = len(found), len(found) - len(flags)
    if len(flags) > FALSELY * len(found):
        tally.breaches.append(f"{len(flags)} of {len(found)} steps were flagged: {flags[0]}")
    return tally


def _steps(world: World, count: int) -> list[dict[str, Any]]:
    """Records of so many steps of one sweep."""
    results = world.new_folder()
    jobs = [make_job(f"s{number:03d}", "good", amount=STEP_SECONDS) for number in range(count)]
    child = world.zygote().start("faults.acts:sweep", results=str(results), jobs=jobs)
    child.wait(60 + 10 * count)
    return evidence.records(results)


@contextlib.contextmanager
def _burning(code: str) -> Iterator[None]:
    """A process of nobody's that runs ``code``, at work already."""
    process = subprocess.Popen([sys.executable, "-c", code])
    try:
        time.sleep(0.5)
        yield
    finally:
        process.kill()
        process.wait()


def _busy_share() -> float:
    """Share of the cores that is in use while this process sleeps."""
    before = _busy_seconds()
    time.sleep(LOOK_SECONDS)
    return (_busy_seconds() - before) / LOOK_SECONDS / (os.cpu_count() or 1)


def _busy_seconds() -> float:
    user, nice, system, _idle, _wait, interrupts, soft, *_ = map(
        int, Path("/proc/stat").read_text().splitlines()[0].split()[1:]
    )
    return (user + nice + system + interrupts + soft) / os.sysconf("SC_CLK_TCK")
