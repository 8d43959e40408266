"""Processes of this machine, read from /proc: who descends from whom, what they used, and how to end them.

The launcher ends groups and stray descendants with it; the meter adds the memory of children.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from pathlib import Path

import harness

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
_TICKS = os.sysconf("SC_CLK_TCK")


def of_harness(python: str, module: str, *arguments: str) -> list[str]:
    """The command that runs a module of the harness, and imports nothing from the folder that it is started in.

    ``python -m`` would: a file ``select.py`` beside a suite would be run, which nobody named. The harness's own folder
    is an exception, for a checkout that is not installed.
    """
    own = Path("harness/__init__.py").absolute() == Path(harness.__file__) and not sys.flags.safe_path
    return [python, *([] if own else ["-P"]), "-m", module, *arguments]


def set_process_option(option: int, value: int) -> None:
    """Call ``prctl(option, value)``; where the system has none, nothing happens."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def parents() -> dict[int, int]:
    """Return the parent of every process that can be seen."""
    found = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            found[int(entry.name)] = int(fields[1])
    return found


def descendants(pid: int) -> list[int]:
    """Return all descendants of a process, whatever session they are in, children before their own children."""
    table = parents()
    found, wave = [], [pid]
    while wave:
        wave = [child for child, parent in table.items() if parent in wave]
        found += wave
    return found


def quick_descendants(pid: int) -> list[int]:
    """The same, through the kernel's list of children: cheap enough for a span's end; empty where there is no list."""
    found, wave = [], [pid]
    while wave:
        wave = [child for parent in wave for child in _children(parent)]
        found += wave
    return found


def cpu_seconds(pid: int) -> float:
    """CPU seconds that a live process has used in all its threads; 0 once it is gone."""
    try:
        files = list(Path(f"/proc/{pid}/task").iterdir())
        return sum(int((file / "schedstat").read_text().split()[0]) for file in files) / 1e9
    except (OSError, ValueError, IndexError):
        fields = _stat(pid)
        return (int(fields[11]) + int(fields[12])) / _TICKS if fields else 0.0


def started_at(pid: int) -> int:
    """When a process began, in ticks since the machine did, which tells it from a later one of the same id; 0 if gone.

    One that has ended and is not collected yet (a zombie) is gone.
    """
    fields = _stat(pid)
    return int(fields[19]) if fields and fields[0] != "Z" else 0


def started_with(variable: str, value: str) -> list[int]:
    """Processes whose environment said ``variable=value`` when they began; those of other users are not seen."""
    told, found = f"{variable}={value}".encode(), []
    for entry in os.scandir("/proc"):
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and told in Path(entry.path, "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
    return found


def kill_all(pids: list[int], number: int = signal.SIGKILL) -> None:
    """Send a signal to each process that still exists."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def kill_group(pid: int, number: int) -> None:
    """Send a signal to the process group that ``pid`` leads, if it still exists."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def out_of_memory_kills() -> int:
    """How often the kernel has killed for memory, by its own counter and by this process's control group."""
    total = counter_of("/proc/vmstat", "oom_kill")
    return total + counter_of(str(control_group() / "memory.events"), "oom_kill")


def counter_of(path: str, name: str) -> int:
    """Value of one ``name value`` line of a kernel file; 0 where there is none."""
    with contextlib.suppress(OSError), Path(path).open() as file:
        for line in file:
            key, _, value = line.partition(" ")
            if key == name:
                return int(value)
    return 0


def control_group() -> Path:
    """The folder of this process's control group (version 2)."""
    root = Path("/sys/fs/cgroup")
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            if line.startswith("0::"):
                return root / line[3:].lstrip("/")
    return root


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat after the name, which may itself hold spaces and brackets; empty once it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return []


def _children(pid: int) -> list[int]:
    found: list[int] = []
    with contextlib.suppress(OSError):
        for thread in os.scandir(f"/proc/{pid}/task"):
            with contextlib.suppress(OSError):
                found += map(int, Path(thread.path, "children").read_text().split())
    return found
