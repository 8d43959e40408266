"""Which processes of a sweep still live, known by a mark in the environment that they were started with."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterable
from pathlib import Path

LONGEST_SECONDS = 10.0


def new_mark() -> str:
    """A mark that no other process has."""
    return f"fault-{secrets.token_hex(8)}"


def alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return False
    return state not in "ZX"


def marked(mark: str) -> set[int]:
    """Live processes whose environment holds ``mark``: a server, its workers, whatever they started."""
    found = set()
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                known = mark.encode() in Path(entry.path, "environ").read_bytes()
            except OSError:
                continue
            if known and alive(int(entry.name)):
                found.add(int(entry.name))
    return found


def seconds_until_gone(mark: str, pids: Iterable[int] = (), longest: float = LONGEST_SECONDS) -> tuple[float, set[int]]:
    """How long it took until none of them lived, and those that did after the longest wait."""
    began, named = time.monotonic(), list(pids)
    while True:
        left = marked(mark) | {pid for pid in named if alive(pid)}
        waited = time.monotonic() - began
        if not left or waited > longest:
            return waited, left
        time.sleep(0.01)


def children(pid: int) -> list[int]:
    """Children of a process, by the kernel's list."""
    try:
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def resident_bytes(pid: int) -> int:
    """Resident memory of a process; 0 once it is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


def open_files(pid: int) -> int:
    """How many file descriptors a process has open; 0 once it is gone."""
    try:
        return len(list(Path(f"/proc/{pid}/fd").iterdir()))
    except OSError:
        return 0
