"""One rank of a training in several processes, started by torchrun: ``python -m harness.run.rank JOB``.

It trains as the step says and tells what it measured in a file of its own; its last act is to write that file.
"""

from __future__ import annotations

import time

_FIRST_INSTRUCTION = time.perf_counter()

import importlib  # noqa: E402
import json  # noqa: E402
import logging  # noqa: E402
import os  # noqa: E402
import signal  # noqa: E402
import sys  # noqa: E402
import traceback  # noqa: E402
from collections.abc import Mapping  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

from harness.contract import Checkpoint  # noqa: E402
from harness.results.record import write_file  # noqa: E402
from harness.run.failures import status_of  # noqa: E402
from harness.run.meter import Meter  # noqa: E402
from harness.run.operation import prepared  # noqa: E402
from harness.run.probe import libraries  # noqa: E402
from harness.run.processes import PR_SET_PDEATHSIG, set_process_option  # noqa: E402


def main(job_path: str) -> int:
    """Train; the exit status is 0 only where the training was done."""
    set_process_option(PR_SET_PDEATHSIG, signal.SIGKILL)
    job = json.loads(Path(job_path).read_text())
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    rank = int(os.environ["RANK"])
    gpu = int(os.environ["LOCAL_RANK"]) if job["hardware"]["device"] == "cuda" else None
    meter = Meter(started=_FIRST_INSTRUCTION, log=Path(job["log"]), alone=False, gpu=gpu)
    found: dict[str, Any] = {"rank": rank, "status": "done", "reason": None}
    try:
        found["checkpoint"] = _as_json(_train(job, meter, rank, gpu))
    except BaseException as error:
        traceback.print_exc()
        found["status"], found["reason"] = status_of(error)
    found |= meter.finish() | {"ended": time.time()}
    if meter.invalid and found["status"] == "done":
        found |= {"status": "invalid", "reason": meter.invalid}
    write_file(Path(job["ranks_folder"]) / f"rank{rank}.json", json.dumps(found, allow_nan=False))
    return 0 if found["status"] == "done" else 1


def _train(job: Mapping[str, Any], meter: Meter, rank: int, gpu: int | None) -> Checkpoint:
    """Train on the rank's own GPU, if any, having imported what a forked worker has: their memory is then alike."""
    with meter.span("import"):
        libraries()
    with prepared(job, meter, Path(job["output"]), rank=rank) as (adapter, _, request):
        with meter.span("train"):
            if gpu is not None:
                importlib.import_module("torch").cuda.set_device(gpu)
            made: Checkpoint = adapter.train(request)
        return made


def _as_json(made: Checkpoint) -> dict[str, Any]:
    parts = {name: str(path) for name, path in made.parts.items()}
    return {"kind": made.kind, "parts": parts, "made": sorted(made.made), "opened_by": dict(made.opened_by)}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
