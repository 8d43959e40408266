"""The launcher's end of the server: start it with a thread environment, ask for workers, wait for what it says."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import select
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from harness.errors import StepError
from harness.run.processes import kill_all, of_harness, started_with

START_SECONDS = 300.0
GONE_SECONDS = 5.0
_MARK = "HARNESS_SERVER"  # names the server in the environment of all that comes from it


class ServerGone(StepError):
    """The server ended without being asked to."""


class Service:
    """One running server of the interpreter ``python``, its own output in ``log``; ``held`` is closed at its end."""

    def __init__(
        self, python: str, preload: Sequence[str], variables: Mapping[str, str], log: Path, held: TextIO | None = None
    ) -> None:
        self.variables = dict(variables)
        self._python = python
        self._held = held
        self._mark = secrets.token_hex(8)
        self._buffer = b""
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                of_harness(python, "harness.run.server", *preload),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                env={**os.environ, **variables, _MARK: self._mark},
                start_new_session=True,
                bufsize=0,
            )
        self.preloaded: list[str] = self._expect("ready", START_SECONDS)["ready"]

    @property
    def pid(self) -> int:
        """Process id of the server."""
        return self._process.pid

    def alive(self) -> bool:
        """Whether the server still runs."""
        return self._process.poll() is None

    def start(self, job: Path, isolation: str) -> int:
        """Start a worker for a job file, forked or in a new interpreter; return its process id."""
        request = {"fork": str(job)} if isolation == "fork" else {"spawn": str(job), "python": self._python}
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
        except BrokenPipeError:
            raise self._gone() from None
        return int(self._expect("pid", START_SECONDS)["pid"])

    def receive(self, seconds: float) -> dict[str, Any] | None:
        """Block for at most ``seconds`` until the server says something; None if it does not."""
        assert self._process.stdout is not None
        deadline = time.monotonic() + seconds
        while b"\n" not in self._buffer:
            left = max(0.0, deadline - time.monotonic())
            readable, _, _ = select.select([self._process.stdout], [], [], left)
            if not readable:
                return None
            chunk = os.read(self._process.stdout.fileno(), 1 << 16)
            if not chunk:
                raise self._gone()
            self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\n")
        message: dict[str, Any] = json.loads(line)
        return message

    def close(self) -> None:
        """Let the server end by closing its pipe; kill it if it does not."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._held is not None:
            self._held.close()

    def _gone(self) -> ServerGone:
        """The server was killed: what its workers left in sessions of their own has nobody else to end it.

        One look is not enough: what is still alive may start another process between the look and its end.
        """
        deadline = time.monotonic() + GONE_SECONDS
        while (left := started_with(_MARK, self._mark)) and time.monotonic() < deadline:
            kill_all(left)
            time.sleep(GONE_SECONDS / 100)
        return ServerGone("the server that starts workers has ended")

    def _expect(self, key: str, seconds: float) -> dict[str, Any]:
        message = self.receive(seconds)
        while message is not None and "status" in message:  # of a worker that nobody waits for any more
            message = self.receive(seconds)
        if message is not None and "stopped" in message:
            raise ServerGone(message["stopped"])
        if message is None or key not in message:
            self._process.kill()
            raise ServerGone(f"the server that starts workers did not answer within {seconds:.0f} s")
        return message
