"""``harness_speed``: how long the harness itself takes, run as a user runs it, over a generated suite and its records.

``plan`` plans the suite, ``rows`` makes rows of its records, ``report`` makes the page of them: each the wall time of
one command, start-up included. ``step`` is what a step costs by itself: the time from the end of one that does nothing
to the end of the next, as a run says them. All in a folder of their own, which is gone afterwards.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import re
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import harness
from harness import specimen
from harness.contract import HarnessTask, Job, param
from harness.errors import StepError

CELLS, RECORDS = 2000, 500
SUITE = "generated"
COMMANDS = {
    "plan": ("plan", f"{SUITE}.yaml", "--json"),
    "rows": ("rows", SUITE, "--parquet", "rows.parquet"),
    "report": ("report", SUITE),
}
NOTHING = """\
question: What does a step cost by itself?
method: base
hardware: {{device: cpu, threads: {threads}}}
tasks: nothing(number={numbers})
"""
DONE = re.compile(r"\[\d+/\d+\] done ")


class HarnessSpeed(HarnessTask):
    """Wall time of one command, or of a step that does nothing, over repeats."""

    summary = "time of planning, of making rows, of a report, and of a step by itself"
    metrics = ("harness_seconds",)

    @dataclass(frozen=True)
    class Params:
        what: str = param("plan", "what is timed", choices=("plan", "rows", "report", "step"))
        repeats: int = param(5, "counted repeats (of step: counted steps), after one that is not", low=1)
        size: int | None = param(
            None, f"cells to plan ({CELLS} where not given) or records to read ({RECORDS})", low=1
        )

    def score(self, scorer: object, job: Job) -> None:
        """Make what is worked on, repeat, and hand every time over."""
        what, count = self.params.what, self.params.repeats + 1
        if what == "step":
            with job.meter.span("repeats"):
                seconds = _steps(job.output, count, job.hardware.threads or 1)
        else:
            with job.meter.span("data"):
                _generate(job.output, what, self.params.size)
            seconds = []
            for number in range(count):
                with job.meter.span("repeats" if number else "warm_up"):
                    seconds.append(_timed(COMMANDS[what], job.output))
                job.meter.progress()
        job.meter.sample("harness_seconds", seconds[1:])
        job.meter.metric("harness_seconds", statistics.median(seconds[1:]))


def _timed(arguments: Sequence[str], folder: Path) -> float:
    """Wall seconds of one command."""
    began = perf_counter()
    _run(arguments, folder)
    return perf_counter() - began


def _run(arguments: Sequence[str], folder: Path) -> str:
    """What a command prints; ``StepError`` with its last line where it fails."""
    done = subprocess.run(**_call(arguments, folder), stdout=subprocess.PIPE, check=False)
    _check(arguments, done.returncode, done.stderr)
    return str(done.stdout)


def _steps(folder: Path, count: int, threads: int) -> list[float]:
    """Seconds from the end of a step to the end of the next, ``count`` times."""
    (folder / "nothing.yaml").write_text(NOTHING.format(threads=threads, numbers=list(range(1, count + 2))))
    arguments = ("run", "nothing.yaml", "--no-report")
    said, moments = "", []
    with subprocess.Popen(**_call(arguments, folder), stdout=subprocess.DEVNULL) as process:
        try:
            for line in process.stderr or ():
                said += line
                if DONE.match(line):
                    moments.append(perf_counter())
        except BaseException:
            process.terminate()
            raise
    _check(arguments, process.returncode, said)
    if len(moments) != count + 1:
        raise StepError(f"{len(moments)} of {count + 1} steps that do nothing were done")
    return [after - before for before, after in itertools.pairwise(moments)]


def _call(arguments: Sequence[str], folder: Path) -> dict[str, Any]:
    """How a command is started: this interpreter and this harness, in the folder."""
    path = [str(Path(harness.__file__).parents[1]), os.environ.get("PYTHONPATH")]
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path)), "NO_COLOR": "1"}
    return {
        "args": [sys.executable, "-m", "harness", *arguments], "cwd": folder, "env": variables, "text": True,
        "stdin": subprocess.DEVNULL, "stderr": subprocess.PIPE,
    }  # fmt: skip


def _check(arguments: Sequence[str], code: int, said: str) -> None:
    if code:
        last = next((line.strip() for line in reversed(said.splitlines()) if line.strip()), "it said nothing")
        raise StepError(f"harness {' '.join(arguments)} ended with {code}: {last}")


def _generate(folder: Path, what: str, size: int | None) -> None:
    """Write the suite, and what else the command reads: the plan and a record of each of its steps."""
    cells = size or CELLS if what == "plan" else math.ceil((size or RECORDS) / specimen.STEPS_OF_A_CELL)
    (folder / f"{SUITE}.yaml").write_text(specimen.suite(cells))
    if what == "plan":
        return
    plan = _run(COMMANDS["plan"], folder)
    into = folder / "results" / SUITE / specimen.INSTALLATION
    into.mkdir(parents=True)
    (into / "plan.json").write_text(plan)
    for number, step in enumerate(json.loads(plan)["steps"]):
        record = specimen.record(step, number, SUITE)
        (into / f"{record['record']}.json").write_text(json.dumps(record))
