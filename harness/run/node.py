"""One step on the machine that an engine chose for it: what the engine calls there, and the process that this starts.

The engine's own process (a worker of Ray, a task of Slurm) only waits. A fresh process, ``python -m harness.run.node
JOB``, is the launcher of the one step: signals reach it, nothing that the engine has loaded is in it, and when the
engine's process dies it ends the step with its record. The standard library and light modules alone.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from harness.contract import MEASUREMENT_VERSION
from harness.errors import StoreError, UsageError
from harness.results.record import FORMAT, blank, utc_now, write
from harness.run.claims import Claims
from harness.run.environment import commit_facts, environment_of
from harness.run.launcher import read_job, run_job, terminable
from harness.run.log import tail
from harness.run.processes import PR_SET_PDEATHSIG, of_harness, set_process_option
from harness.run.service import ServerGone
from harness.run.supervise import KILL_SECONDS, TERM_SECONDS, Terminated

APPEAR_SECONDS = 30.0  # a shared file system may show a new file late
LOOK_SECONDS = 1.0  # an engine's Ctrl-C reaches Python between two waits, not in one
EXIT_STORE = 3
EXIT_ELSEWHERE = 4
EXIT_STOPPED = 143

Told = dict[str, Any]


def look(probe: str) -> Told:
    """What the launcher asks a machine before it is used: whether it reads the file ``probe``, and what runs there."""
    return {
        "text": Path(probe).read_text() if _appears(Path(probe)) else None,
        "harness": harness_here(),
        "niceness": _full_priority(),
    }


def answer() -> bool:
    """That this machine lives."""
    return True


def harness_here() -> list[Any]:
    """The harness that is installed here; two machines with the same list measure and write alike."""
    version = importlib.metadata.version("llm-technique-harness")
    return [version, MEASUREMENT_VERSION, FORMAT, commit_facts()["sha"]]


def carry_out(job_file: str, turns: bool, variables: Mapping[str, str]) -> Told:
    """Run the step of a job file in a process of its own and return how that ended: ``code`` and what it ``said``.

    ``blind`` where this machine does not see the file. With ``turns``, it waits until no other launcher on this
    machine and this results folder measures. Whatever interrupts the waiting first ends the step with its record.
    """
    if not _appears(Path(job_file)):
        return {"blind": True}
    output = Path(job_file).with_suffix(".node")
    command = of_harness(
        sys.executable, "harness.run.node", job_file, str(os.getpid()), *(["turns"] if turns else [])
    )
    with output.open("wb") as log:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, **variables},
            start_new_session=True,
        )  # fmt: skip
    try:
        _wait(child, float("inf"))
    except BaseException:
        child.terminate()
        _wait(child, TERM_SECONDS + KILL_SECONDS)
        raise
    said = tail(output, 1)
    return {"code": child.returncode, "said": said[0] if said else ""}


def main(job_file: str, engine: str, *options: str) -> int:
    """Be the launcher of one step until it ends or the process ``engine`` is gone; 0 where there is a record.

    A step runs once, however often it was handed out: by a launcher that was killed, and by the one that goes on.
    """
    try:
        with terminable():
            set_process_option(PR_SET_PDEATHSIG, signal.SIGTERM)
            if os.getppid() != int(engine):  # it died before this process could ask to be told
                raise Terminated("stopped by SIGTERM")
            _full_priority()
            job = read_job(Path(job_file))
            claims = Claims(Path(job["cache"]) / "claims")
            with claims.turn() if "turns" in options else contextlib.nullcontext():
                if Path(job["record"]).exists():
                    return 0
                if not claims.carry(job["step"]):
                    return EXIT_ELSEWHERE
                try:
                    _run(Path(job_file), job, lambda seconds: claims.touch(job["step"], carried=True))
                finally:
                    claims.release(job["step"])
    except (Terminated, KeyboardInterrupt):
        return EXIT_STOPPED
    except StoreError as error:
        print(error, file=sys.stderr)
        return EXIT_STORE
    return 0


def _run(path: Path, job: Mapping[str, Any], tick: Callable[[float], None]) -> None:
    """Run the job; it has its record then."""
    record = Path(job["record"])
    try:
        run_job(path, preload=(job.get("context") or {}).get("preload") or (), tick=tick)
    except (UsageError, ServerGone) as error:  # an environment that is not set up here, say
        found = blank(job, "crashed", str(error)) | {"started": utc_now(), "environment": environment_of(job)}
        write(record, found)


def _appears(path: Path) -> bool:
    deadline = time.monotonic() + APPEAR_SECONDS
    while not path.is_file():
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.5)
    return True


def _wait(child: subprocess.Popen[bytes], seconds: float) -> None:
    """Block until the child has ended, woken by its end."""
    deadline = time.monotonic() + seconds
    handle = os.pidfd_open(child.pid)
    try:
        while child.poll() is None and (left := deadline - time.monotonic()) > 0:
            select.select([handle], [], [], min(LOOK_SECONDS, left))
    finally:
        os.close(handle)


def _full_priority() -> int:
    """Take back what an engine gave of this process's priority (Ray's workers are nice), and return what is left."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, 0)
    return os.getpriority(os.PRIO_PROCESS, 0)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
