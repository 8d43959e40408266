"""The worker: one process, one step, one record: ``python -m harness.run.worker JOB``, or forked by the server.

Its only outputs are its record, its checkpoint and its log. Standard library alone until the operation imports more.
"""

from __future__ import annotations

import time

_FIRST_INSTRUCTION = time.perf_counter()

import contextlib  # noqa: E402
import faulthandler  # noqa: E402
import importlib  # noqa: E402
import json  # noqa: E402
import logging  # noqa: E402
import os  # noqa: E402
import signal  # noqa: E402
import sys  # noqa: E402
import traceback  # noqa: E402
from collections.abc import Mapping  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any, NoReturn  # noqa: E402

from harness.errors import StoreError  # noqa: E402
from harness.results.record import blank, utc_now, write  # noqa: E402
from harness.run.environment import environment_of  # noqa: E402
from harness.run.failures import NO_SPACE_STATUS, Interrupted, is_out_of_space, status_of  # noqa: E402
from harness.run.log import stop_file, tail  # noqa: E402
from harness.run.meter import Meter  # noqa: E402
from harness.run.operation import perform  # noqa: E402
from harness.run.processes import PR_SET_PDEATHSIG, parents, set_process_option  # noqa: E402
from harness.run.server import gpu_unopened  # noqa: E402

EXIT_NOT_DONE = 1
EXIT_NO_RECORD = 3


def main(job_path: str, started: float | None = None) -> int:
    """Run the job in ``job_path`` and write its record; the exit status is 0 only for ``done``."""
    job = json.loads(Path(job_path).read_text())
    try:
        _own_process(Path(job["log"]))
    except OSError as error:
        return NO_SPACE_STATUS if is_out_of_space(error) else EXIT_NO_RECORD
    record = blank(job, "done")
    began = _FIRST_INSTRUCTION if started is None else started
    record["started"] = utc_now(time.perf_counter() - began)
    meter = Meter(
        started=began,
        log=Path(job["log"]),
        supervisors=_supervisors(job),
    )
    record["status"], record["reason"] = _outcome(job, meter)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    record.update(meter.finish())
    if meter.invalid and record["status"] in ("done", "failed"):
        record |= {"status": "invalid", "reason": meter.invalid}
    record["environment"] = environment_of(job, data_fingerprint=record["observed"].get("data_fingerprint"))
    if record["status"] != "done":
        record["log_tail"] = tail(Path(job["log"]))
    try:
        write(Path(job["record"]), record)
    except StoreError as error:
        with contextlib.suppress(OSError):
            print(error, file=sys.stderr)
        return NO_SPACE_STATUS if is_out_of_space(error) else EXIT_NO_RECORD
    return 0 if record["status"] == "done" else EXIT_NOT_DONE


def _outcome(job: Mapping[str, Any], meter: Meter) -> tuple[str, str | None]:
    """Perform the operation; whatever ends it becomes a status and a reason, with the traceback in the log."""

    def stop(_number: int, _frame: object) -> NoReturn:
        raise Interrupted("SIGTERM")

    try:
        signal.signal(signal.SIGTERM, stop)
        with meter.span("import"), gpu_unopened():  # a task that measures training forks from here
            for name in (job.get("context") or {}).get("preload", ()):
                with contextlib.suppress(ImportError):
                    importlib.import_module(name)
        perform(job, meter)
    except Interrupted:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        _print_traceback()
        return _why_stopped(job)
    except (Exception, SystemExit, KeyboardInterrupt) as error:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        _print_traceback()
        return status_of(error)
    return "done", None


def _print_traceback() -> None:
    with contextlib.suppress(OSError):  # the log's disk may be what is full
        traceback.print_exc()


def _why_stopped(job: Mapping[str, Any]) -> tuple[str, str]:
    """What the launcher meant by its TERM: it leaves a note before sending one; without a note somebody else did."""
    try:
        note = json.loads(stop_file(Path(job["log"])).read_text())
        return note["status"], note["reason"]
    except (OSError, ValueError):
        return "interrupted", "terminated by SIGTERM"


def _own_process(log: Path) -> None:
    """Lead a process group, die with the parent, send all output to the log, and say where a crash happened."""
    with contextlib.suppress(PermissionError):
        os.setsid()
    set_process_option(PR_SET_PDEATHSIG, signal.SIGKILL)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500")
    log.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    for number in (1, 2):
        os.dup2(handle, number)
    sys.stdout = os.fdopen(1, "w", buffering=1, errors="backslashreplace", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, errors="backslashreplace", closefd=False)
    faulthandler.enable(file=2)
    logger = logging.getLogger("harness")
    logger.setLevel(logging.INFO)
    logger.addHandler(logging.StreamHandler(sys.stderr))
    for number in (null, handle):
        os.close(number)


def _supervisors(job: Mapping[str, Any]) -> tuple[int, ...]:
    """The launcher and its server, whose CPU share is measured while the step runs."""
    launcher = (job.get("context") or {}).get("launcher")
    if launcher is None:
        return ()
    server = os.getppid()
    return (server, launcher) if parents().get(server) == launcher else (server,)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
