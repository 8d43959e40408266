"""The other end of the zygote: start real launchers and commands, send them signals, wait for them."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parents[1]
ROOT = TESTS.parent
LAUNCHER = ("harness.run.launcher", "harness.results.store", "faults.acts")
COMMANDS = (*LAUNCHER, "harness.cli.commands", "harness.cli.running", "harness.plan.plan")
REPORTS = (*COMMANDS, "harness.cli.reporting", "harness.report.build", "harness.report.index", "harness.results.rows",
           "vl_convert", "pyarrow.parquet")  # fmt: skip
START_SECONDS = 120.0
# Where a worker finds the fakes, and the ``sitecustomize`` that injects what the environment asks for.
INJECTED = os.pathsep.join([str(TESTS / "faults" / "inject"), str(ROOT), str(TESTS)])
# No git on the path: asking it for the commit takes as long as a step.
PATH = "/nonexistent"


@dataclass
class Child:
    """One process that the zygote forked."""

    zygote: Zygote
    pid: int
    out: Path

    def said(self) -> str:
        """What it has printed so far."""
        return self.out.read_text(errors="replace") if self.out.exists() else ""

    def wait(self, seconds: float = 60.0) -> int:
        """Its exit status, or minus the signal that ended it; ``TimeoutError`` where it goes on."""
        return self.zygote.wait(self.pid, seconds)

    def ended(self) -> bool:
        """Whether it has ended."""
        with contextlib.suppress(TimeoutError):
            self.wait(0.0)
            return True
        return False

    def runs(self) -> bool:
        """Whether it has not ended."""
        return not self.ended()

    def send(self, number: int) -> None:
        """Send a signal to it alone."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def send_group(self, number: int) -> None:
        """Send a signal to its process group, as a terminal does."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)


class Zygote:
    """One zygote with ``modules`` imported; ``folder`` is where its children's output lies."""

    def __init__(self, folder: Path, modules: tuple[str, ...] = LAUNCHER) -> None:
        self.folder = folder
        self._buffer = b""
        self._statuses: dict[int, int] = {}
        self._count = 0
        variables = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(TESTS)]), "NO_COLOR": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "faults.zygote", *modules], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env=variables, cwd=ROOT, bufsize=0, start_new_session=True, preexec_fn=_own_signals,
        )  # fmt: skip
        self._answer("ready", START_SECONDS)

    def start(self, call: str, *, mark: str = "", environ: dict[str, str] | None = None, **given: Any) -> Child:
        """Fork a process that runs ``call`` with what is given; ``mark`` is in the environment of all it starts."""
        self._count += 1
        out = self.folder / f"out-{self._count}.txt"
        out.unlink(missing_ok=True)
        request = {
            "call": call, "given": given, "folder": str(self.folder), "out": str(out),
            "environ": {"PATH": PATH, "FAULT_MARK": mark, "FAULT_INJECT_LOOSE": "yes", "PYTHONPATH": INJECTED,
                        "HARNESS_CACHE_GB": "1000", "HARNESS_REMEASURE": "0", **(environ or {})},
        }  # fmt: skip
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        return Child(self, self._answer("pid", 30.0)["pid"], out)

    def wait(self, pid: int, seconds: float) -> int:
        """The status of a child; ``TimeoutError`` where it has none within so many seconds."""
        deadline = time.monotonic() + seconds
        while pid not in self._statuses:
            message = self._read(max(0.0, deadline - time.monotonic()))
            if message is None:
                raise TimeoutError(f"process {pid} has not ended within {seconds:.0f} s")
            self._statuses[message["pid"]] = message["status"]
        return self._statuses[pid]

    def kill(self, pid: int) -> None:
        """Send SIGKILL to a process below one of its children."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    def close(self) -> None:
        """End it, and what it started with it."""
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()
        self._process.kill()
        self._process.wait(timeout=30)

    def _answer(self, key: str, seconds: float) -> dict[str, Any]:
        while True:
            message = self._read(seconds)
            if message is None:
                raise TimeoutError("the zygote does not answer")
            if key in message and "status" not in message:
                return message
            self._statuses[message["pid"]] = message["status"]

    def _read(self, seconds: float) -> dict[str, Any] | None:
        assert self._process.stdout is not None
        deadline = time.monotonic() + seconds
        while b"\n" not in self._buffer:
            readable, _, _ = select.select([self._process.stdout], [], [], max(0.0, deadline - time.monotonic()))
            if not readable:
                return None
            chunk = os.read(self._process.stdout.fileno(), 1 << 16)
            if not chunk:
                raise RuntimeError("the zygote has ended")
            self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\n")
        message: dict[str, Any] = json.loads(line)
        return message


def _own_signals() -> None:
    """A process that a shell started in the background ignores Ctrl-C, and so would all that it starts."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)
