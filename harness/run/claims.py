"""Who does what on a results folder that several launchers use: one at a time measures on a machine, each step once.

A *turn* is the right to measure on this machine (a lock of the kernel, gone with its process). A *claim* is a file that
says which launcher has a step, on whatever machine: boot id, process namespace, process id and start time tell whether
that launcher still lives; where they cannot be seen from here, the file's age does (its launcher touches it). What an
engine was handed is claimed once more by the process that carries it out, which outlives its launcher: jobs wait in a
queue, and whoever goes on after a launcher was killed hands the same steps out again.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO

from harness.errors import StoreError
from harness.run.processes import started_at

# A launcher touches its claims every few seconds while a step runs; starting a server is the longest it is silent.
STALE_SECONDS = 600.0


@dataclass(frozen=True)
class Holder:
    """A process, told from every other one of any machine and any time."""

    boot: str
    namespace: str
    pid: int
    started: int

    @classmethod
    def this(cls) -> Holder:
        """The process that asks."""
        return cls(_boot(), _namespace(), os.getpid(), started_at(os.getpid()))

    def lives(self, silent_seconds: float) -> bool:
        """Whether it still runs; one that cannot be seen from here lives while its claim is not older than that."""
        if (self.boot, self.namespace) == (_boot(), _namespace()):
            return started_at(self.pid) == self.started
        return silent_seconds < STALE_SECONDS


class Claims:
    """The claims of one process in the folder ``folder``; ``StoreError`` where that cannot be used.

    ``hands_out``: it measures nothing itself, an engine's processes do (``carry``).
    """

    def __init__(self, folder: Path, *, hands_out: bool = False) -> None:
        self.folder = folder
        self._me = Holder.this()
        self._text = json.dumps(asdict(self._me) | ({"hands_out": True} if hands_out else {}))
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"claims cannot be kept in {folder}: {error.strerror}") from None

    @contextlib.contextmanager
    def turn(self, waits: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Hold the right to measure on this machine; ``waits`` is called where another launcher has it."""
        with (self.folder / f"turn-{self._me.boot[:8]}").open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                waits()
                fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def take(self, step: str) -> bool:
        """Claim a step; False where a living launcher has it or a living process carries it out for one.

        A claim whose process is gone is taken over.
        """
        with self._alone() as lock:
            if self._of_another(self._path(step), lock) or self._of_another(self._carried(step), lock):
                return False
            self._carried(step).unlink(missing_ok=True)
            self._write(self._path(step))
            return True

    def carry(self, step: str) -> bool:
        """Begin what an engine gave this process; False where another process does it or has it from its own plan."""
        with self._alone() as lock:
            launcher = _found(self._path(step))
            if self._of_another(self._carried(step), lock):
                return False
            if not launcher.get("hands_out") and self._of_another(self._path(step), lock):
                return False
            self._write(self._carried(step))
            return True

    def touch(self, step: str, *, carried: bool = False) -> None:
        """Say that this process still works on a step of its own, or on one that it carries out for another."""
        with contextlib.suppress(OSError):
            os.utime(self._carried(step) if carried else self._path(step))

    def release(self, step: str) -> None:
        """Give a step back, if it is this process's."""
        with contextlib.suppress(OSError), self._alone() as lock:
            for path in (self._path(step), self._carried(step)):
                if _read(path, lock)[0] == self._me:
                    path.unlink()

    def lost(self, step: str) -> None:
        """What carried a step out is gone, its engine says: no silence need be waited for."""
        with contextlib.suppress(OSError), self._alone():
            self._carried(step).unlink()

    def _path(self, step: str) -> Path:
        return self.folder / f"{step}.json"

    def _carried(self, step: str) -> Path:
        return self.folder / f"{step}.node.json"

    def _of_another(self, path: Path, lock: TextIO) -> bool:
        holder, silent = _read(path, lock)
        return holder is not None and holder != self._me and holder.lives(silent)

    def _write(self, path: Path) -> None:
        try:
            path.write_text(self._text)
        except OSError as error:
            path.unlink(missing_ok=True)
            raise StoreError(f"cannot write {path}: {error.strerror}; free space and run it again") from None

    @contextlib.contextmanager
    def _alone(self) -> Iterator[TextIO]:
        """Reading a claim and writing one are one act; the lock's own time is the file server's now."""
        with (self.folder / "lock").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            os.utime(file.fileno())
            yield file


def held(folder: Path) -> list[str]:
    """Steps that living processes have, on this machine or another; reading makes nothing."""
    if not folder.is_dir():
        return []
    with (folder / "lock").open("a") as lock:
        os.utime(lock.fileno())
        found = [(path.name.split(".")[0], *_read(path, lock)) for path in sorted(folder.glob("*.json"))]
    living = (step for step, holder, silent in found if holder is not None and holder.lives(silent))
    return list(dict.fromkeys(living))


def _found(path: Path) -> dict[str, Any]:
    """What a claim says; nothing where there is none or it is no whole one."""
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _read(path: Path, lock: TextIO) -> tuple[Holder | None, float]:
    """Who has a claim, and for how long it was not touched; nobody where there is none or it is no whole one."""
    try:
        silent = os.fstat(lock.fileno()).st_mtime - path.stat().st_mtime
        found = _found(path)
        return Holder(str(found["boot"]), str(found["namespace"]), int(found["pid"]), int(found["started"])), silent
    except (OSError, ValueError, KeyError, TypeError):
        return None, 0.0


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return "unknown"


def _namespace() -> str:
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return "unknown"
