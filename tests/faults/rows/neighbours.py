"""Something else uses the machine while a step runs: it is flagged, and nothing is flagged where there is nothing."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fakes.jobs import make_job

from faults import evidence
from faults.inject import driver
from faults.tally import Tally, World, fault
from harness.results.record import disturbed

FLAGGED, FALSELY = 0.95, 0.01
STEP_SECONDS = 0.8
FAKES = Path(__file__).resolve().parents[2] / "fakes"
GPU = {"device": "cuda", "devices": 1, "threads": 1, "ranks": 1}
LOOK_SECONDS = 2.0
PATIENCE_SECONDS = 3.0  # for each round, until the machine is quiet
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


@fault(
    "a GPU that another process uses and that is slowed for its heat, and one at its power limit alone (a library that "
    "speaks for NVML)", f"the first is flagged in >= {FLAGGED:.0%} of runs, the second in <= {FALSELY:.0%}",
    short=4, long=100,
)  # fmt: skip
def on_a_gpu(world: World, rounds: int) -> Tally:
    """Steps that are told that they have a GPU; the real pynvml asks the library of tests/fakes/nvml.c."""
    tally = Tally()
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or importlib.util.find_spec("pynvml") is None:
        tally.notes.append("not tried: it needs a C compiler and nvidia-ml-py")
        return tally
    folder = world.new_folder()
    command = [compiler, "-shared", "-fPIC", "-o", str(folder / "libnvidia-ml.so.1"), str(FAKES / "nvml.c")]
    subprocess.run(command, check=True, capture_output=True)
    flagged = {}
    for gpu in ("1", "0"):
        environ = {driver.NAME: "yes", "LD_LIBRARY_PATH": str(folder), "CUDA_VISIBLE_DEVICES": gpu}
        found = _steps(world, rounds // 2, environ, seconds=0.0, hardware=GPU)
        told = [[flag for flag in record["flags"] if f"GPU {gpu}" in flag] for record in found]
        flagged[gpu] = sum(bool(flags) for flags in told)
        tally.tried += len(found)
        tally.held += len(found) - flagged[gpu] if gpu == "0" else flagged[gpu]
        if gpu == "1" and any(0 < len(flags) < 2 for flags in told):
            tally.breaches.append(f"not both are told: {next(flags for flags in told if len(flags) == 1)}")
    if flagged["1"] < FLAGGED * (rounds // 2) or flagged["0"] > FALSELY * (rounds // 2):
        tally.breaches.append(f"of {rounds // 2} steps each {flagged['1']} and {flagged['0']} were flagged")
    return tally


@fault("no neighbour", f"flagged in <= {FALSELY:.0%} of runs", short=2, long=200, alone=True)
def quiet(world: World, rounds: int) -> Tally:
    """The same steps with nothing beside them, on a machine that is quiet before and after; it is waited for."""
    tally = Tally()
    deadline = time.monotonic() + PATIENCE_SECONDS * rounds
    while (before := _busy_share()) > BUSY and time.monotonic() < deadline:
        pass  # each look takes its time asleep
    if before > BUSY:
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


def _steps(
    world: World, count: int, environ: dict[str, str] | None = None, seconds: float = STEP_SECONDS, **more: Any
) -> list[dict[str, Any]]:
    """Records of so many steps of one sweep."""
    results = world.new_folder()
    jobs = [make_job(f"s{number:03d}", "good", amount=seconds, **more) for number in range(count)]
    child = world.zygote().start("faults.acts:sweep", environ=environ, results=str(results), jobs=jobs)
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
