"""One step seen from the launcher: start its worker, block until it ends or exceeds a limit, see that a record is left.

The parent never polls: it sleeps in ``select`` until the server speaks or the next deadline comes.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.results.record import Record, blank, read, utc_now, write, write_file
from harness.run.environment import environment_of
from harness.run.failures import NO_SPACE, NO_SPACE_STATUS
from harness.run.log import shorten, stop_file, tail
from harness.run.processes import descendants, kill_all, kill_group, out_of_memory_kills, started_at
from harness.run.service import ServerGone, Service

TERM_SECONDS = 5.0
LAST_WORD_SECONDS = 5.0  # what the server says of a worker that it has collected takes no longer
KILL_SECONDS = 60.0
TICK_SECONDS = 5.0


class Terminated(BaseException):
    """SIGTERM reached the launcher."""


@dataclass
class Ending:
    """How a worker ended, as far as the launcher can see."""

    status: str
    reason: str


def supervise(service: Service, job: Mapping[str, Any], job_file: Path, tick: Callable[[float], None]) -> Record:
    """Run one complete job and return its record, the worker's own or one written here in its place.

    Whatever interrupts the waiting (Ctrl-C, SIGTERM, an error of the caller) first ends the worker and its record; a
    second one only takes the worker's time to end by itself.
    """
    watched = _Worker(service, job, tick)
    stop_file(watched.log).unlink(missing_ok=True)
    write_file(job_file, json.dumps(job, allow_nan=False))
    started, began = utc_now(), time.monotonic()
    try:
        ending = watched.run(job_file)
    except BaseException as error:
        ending = watched.stop("interrupted", _said(error))
        with _undisturbed():
            _settle(job, ending, started, time.monotonic() - began)
        raise
    return _settle(job, ending, started, time.monotonic() - began)


class _Worker:
    """The worker of one job while it runs."""

    def __init__(self, service: Service, job: Mapping[str, Any], tick: Callable[[float], None]) -> None:
        limits = job.get("limits") or {}
        self.log = Path(job["log"])
        self._service = service
        self._tick = tick
        self._isolation = job["isolation"]
        self._wall = float(limits.get("wall_seconds") or float("inf"))
        self._silence = float(limits.get("silence_seconds") or float("inf"))
        self._pid: int | None = None
        self._ended = False
        self._seen: tuple[int, int] | None = None
        self._active_at = 0.0

    def run(self, job_file: Path) -> Ending:
        """Start the worker and wait; the limits end it."""
        kills = out_of_memory_kills()
        began = time.monotonic()
        try:
            self._pid = self._service.start(job_file, self._isolation)
            limit = self._wait(began)
            if limit is not None:
                return self.stop("timeout", limit)
        except ServerGone as error:
            self._ended = True
            return Ending("crashed", str(error))
        return self._read_status(out_of_memory_kills() > kills)

    def stop(self, status: str, reason: str) -> Ending:
        """TERM the group with a note that says why, then KILL it and every descendant."""
        if self._ended:
            return Ending(status, reason)
        with contextlib.suppress(OSError):  # a full disk must not keep the worker alive
            stop_file(self.log).write_text(json.dumps({"status": status, "reason": reason}))
        try:
            if self._pid is None:
                message = self._service.receive(LAST_WORD_SECONDS) or {}
                self._pid = message.get("pid")
            if self._pid is not None:
                self._end_group(self._pid)
            else:
                kill_all(descendants(self._service.pid))
        except ServerGone:
            pass
        self._ended = True
        return Ending(status, reason)

    def _end_group(self, pid: int) -> None:
        kill_group(pid, signal.SIGTERM)
        with contextlib.suppress(KeyboardInterrupt, Terminated):
            if self._exit_within(TERM_SECONDS):
                return
        with _undisturbed():
            below = descendants(pid)
            kill_group(pid, signal.SIGKILL)
            kill_all([pid, *below])
            self._exit_within(KILL_SECONDS)

    def _exit_within(self, seconds: float) -> bool:
        """Wait for the server's word on the worker's end; it may have been read, and lost, when a signal came."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            gone = self._pid is not None and not started_at(self._pid)
            if self._take(self._service.receive(min(left, LAST_WORD_SECONDS))) or gone:
                return True
        return False

    def _wait(self, began: float) -> str | None:
        """Block until the worker has ended (None) or a limit is exceeded (which one)."""
        self._active_at = began
        tick_at = began + TICK_SECONDS
        while True:
            now = time.monotonic()
            if now >= began + self._wall:
                return f"ran longer than {self._wall:g} s"
            self._look(now)
            if now >= self._active_at + self._silence:
                return f"no output and no progress for {self._silence:g} s"
            if now >= tick_at:
                self._tick(now - began)
                tick_at = now + TICK_SECONDS
            deadline = min(began + self._wall, self._active_at + self._silence, tick_at)
            if self._take(self._service.receive(max(0.0, deadline - now))):
                return None

    def _look(self, now: float) -> None:
        """Whether the log was written to or touched since the last look (the meter touches it at every progress).

        Its time is compared with itself alone: a clock that jumps makes nothing look silent.
        """
        try:
            stat = self.log.stat()
        except OSError:
            return
        if (seen := (stat.st_mtime_ns, stat.st_size)) != self._seen:
            self._seen, self._active_at = seen, now

    def _take(self, message: dict[str, Any] | None) -> bool:
        if message is None or message.get("pid") != self._pid or "status" not in message:
            return False
        self._code = int(message["status"])
        self._ended = True
        return True

    def _read_status(self, memory_kill: bool) -> Ending:
        if self._code == NO_SPACE_STATUS:
            return Ending("failed", f"{NO_SPACE}: the step could not write its record or its log")
        if self._code == -signal.SIGKILL and memory_kill:
            return Ending("out_of_memory", "killed by the kernel (SIGKILL): the machine was out of memory")
        if self._code < 0:
            name = signal.Signals(-self._code).name
            return Ending("crashed", f"killed by {name} ({signal.strsignal(-self._code)})")
        return Ending("crashed", f"ended with exit status {self._code} and left no record")


def _settle(job: Mapping[str, Any], ending: Ending, started: str, seconds: float) -> Record:
    """Return the worker's record, or write one for it; remove what it left half done."""
    path = Path(job["record"])
    if not path.exists():
        record = blank(job, ending.status, ending.reason)
        record |= {"started": started, "wall_seconds": seconds, "environment": environment_of(job)}
        record["log_tail"] = tail(Path(job["log"]))
        write(path, record)
    shutil.rmtree(Path(job["cache"]) / "partial" / f"{job['step']}.{job['attempt']}", ignore_errors=True)
    stop_file(Path(job["log"])).unlink(missing_ok=True)
    shorten(Path(job["log"]))
    return read(path)


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """No Ctrl-C and no SIGTERM comes between a worker's end and its record (only the main thread gets them)."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _said(error: BaseException) -> str:
    if isinstance(error, KeyboardInterrupt):
        return "stopped by Ctrl-C"
    return str(error) or type(error).__name__
