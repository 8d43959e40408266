"""A disk that is full from one write on, in every process; or a process that is killed just before one.

``FAULT_INJECT_FULL`` holds JSON: ``folder`` (only what happens below it counts), ``flag`` (a file that is there while
the disk is full), ``after`` (the number of the write, from 1) and whose writes are counted, ``who``: ``launcher``,
``worker`` or ``any``. With ``kill`` the process is killed instead. Opening to write, renaming, linking and making
folders are seen, by an audit hook; a write into a file that was opened before is not (a small tmpfs is there for it).
"""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
from pathlib import Path

NAME = "FAULT_INJECT_FULL"
_WRITES = os.O_WRONLY | os.O_RDWR


def install() -> None:
    """Put the hook in place, where the environment asks for it. The process that does so is a launcher or a server."""
    told = os.environ.get(NAME)
    if told is None:
        return
    asked = json.loads(told)
    folder, flag, after = str(asked["folder"]), str(asked["flag"]), int(asked["after"])
    first, launching = os.getpid(), "harness.run.launcher" in sys.modules
    counts: dict[int, int] = {}

    def counted() -> bool:
        """Whether this process's writes are those that fill the disk."""
        if asked["who"] == "any":
            return True
        return launching if asked["who"] == "launcher" else not launching and os.getpid() != first

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        path = _written(event, arguments)
        if path is None or not path.startswith(folder):
            return
        if counted():
            pid = os.getpid()
            counts[pid] = counts.get(pid, 0) + 1
            if counts[pid] == after:
                Path(flag).touch()
                if asked.get("kill"):
                    os.kill(pid, signal.SIGKILL)
        if Path(flag).exists():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)

    sys.addaudithook(hook)


def _written(event: str, arguments: tuple[object, ...]) -> str | None:
    """The path that an act takes space for; None for every other act."""
    if event == "open":
        path, _, flags = arguments
        writes = isinstance(flags, int) and flags & _WRITES
        return _text(path) if writes else None
    if event == "os.mkdir":
        return _text(arguments[0])
    if event in ("os.rename", "os.link", "os.symlink"):
        return _text(arguments[1])
    return None


def _text(path: object) -> str | None:
    if isinstance(path, int):
        return None
    return os.fsdecode(path)  # type: ignore[arg-type]
