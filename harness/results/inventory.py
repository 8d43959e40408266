"""What lies in a results folder and can go as a whole: records, checkpoints, artefacts, logs, gates, leftovers.

Every record is read (0.2 ms each): how it ended and when it began decide what may go. Standard library alone.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from harness.errors import StoreError
from harness.results.made import ARTEFACTS, CHECKPOINTS, GONE, last_used, made_in, oldest_first, size_of
from harness.results.record import read
from harness.results.store import Store

RECORD, CHECKPOINT, ARTEFACT, LOG, GATE, LEFTOVER = "record", "checkpoint", "artefact", "log", "gate", "leftover"
# In the order in which they go where only the size counts: what can be made again first.
RANK = {LEFTOVER: 0, CHECKPOINT: 1, ARTEFACT: 1, GATE: 2, LOG: 3, RECORD: 4}
GATES = ".gate"
PART_SECONDS = 3600.0  # an unfinished file that is older has no writer any more
GATE_SECONDS = 7 * 86_400.0  # a gate that told no verdict and was not gone on with for so long is given up
_ATTEMPT = re.compile(r"(?P<step>[0-9a-z_-]+)\.(?P<attempt>\d+)\..+")
_RECORD = re.compile(r"[0-9a-z_-]+\.\d+\.json")


@dataclass(frozen=True)
class Ended:
    """What a record says that cleaning must know."""

    status: str
    hard: str
    started: str


@dataclass(frozen=True)
class Item:
    """One thing that goes or stays. ``used``: when it was measured, made or last opened (seconds since the epoch).

    ``ended`` is None for what is no record, and for a record that cannot be read. ``in_use`` says for what, if so.
    """

    kind: str
    paths: tuple[Path, ...]
    size: int
    used: float
    suite: str = ""
    installation: str = ""
    step: str = ""
    attempt: int = 0
    ended: Ended | None = None
    in_use: str = ""

    @property
    def name(self) -> str:
        """The record's name."""
        return f"{self.step}.{self.attempt}"


def stock(store: Store) -> list[Item]:
    """Everything that can go, in a fixed order; of checkpoints in the order in which they may."""
    return [*_leftovers(store), *_made(store), *_gates(store), *_logs(store), *_records(store)]


def _records(store: Store) -> Iterator[Item]:
    for suite in store.suites():
        for folder in store.installations(suite):
            for path in sorted(folder.iterdir()):
                if _RECORD.fullmatch(path.name):
                    step, attempt, _ = path.name.split(".")
                    size, ended = path.stat().st_size, _ended(path)
                    used = path.stat().st_mtime if ended is None else _seconds(ended.started, path)
                    yield Item(RECORD, (path,), size, used, suite, folder.name, step, int(attempt), ended)


def _ended(path: Path) -> Ended | None:
    try:
        record = read(path)
    except StoreError:
        return None
    return Ended(record["status"], str(record["environment"].get("hard_id")), record["started"])


def _seconds(started: str, path: Path) -> float:
    try:
        return datetime.fromisoformat(started).timestamp()
    except ValueError:
        return path.stat().st_mtime


def _made(store: Store) -> Iterator[Item]:
    """Checkpoints count as used when what holds parts of them was; what has no seal is a leftover."""
    every = oldest_first(made_in(store.cache))
    last = last_used(every)
    for one in every:
        kind = (CHECKPOINT if one.kind == CHECKPOINTS else ARTEFACT) if one.whole else LEFTOVER
        yield Item(kind, (one.path,), one.size, last[one.step], step=one.step)


def _logs(store: Store) -> Iterator[Item]:
    """Job files and logs of an attempt together; of any suite."""
    found: dict[tuple[str, int], list[Path]] = {}
    for path in _in(store.cache / "jobs"):
        if (name := _ATTEMPT.fullmatch(path.name)) and path.is_file():
            found.setdefault((name["step"], int(name["attempt"])), []).append(path)
    for (step, attempt), paths in sorted(found.items()):
        used = max(path.stat().st_mtime for path in paths)
        yield Item(LOG, tuple(paths), sum(map(size_of, paths)), used, step=step, attempt=attempt)


def _gates(store: Store) -> Iterator[Item]:
    for path in _in(store.root / GATES):
        if path.is_dir() and not path.is_symlink() and not path.name.startswith("."):
            used = max(one.stat().st_mtime for one in (path, *path.glob("pairs*.json")))
            yield Item(GATE, (path,), size_of(path), used, in_use=_why_in_use(path, used))


def _why_in_use(gate: Path, used: float) -> str:
    """Why a gate's folder is still needed; nothing where it is not."""
    if any(_locked(lock) for lock in gate.glob("*/.cache/lock")):
        return "a gate that is running"
    try:
        told: Any = json.loads((gate / "pairs.json").read_text(encoding="utf-8"))
        finished = bool(told["finished"])
    except (OSError, ValueError, KeyError, TypeError):
        finished = False
    return "" if finished or time.time() - used > GATE_SECONDS else "a gate that has told no verdict yet"


def _locked(lock: Path) -> bool:
    try:
        with lock.open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    return False


def _leftovers(store: Store) -> Iterator[Item]:
    """What ended processes left half done. Nothing of a run: whoever asks holds the folder, or only looks."""
    folders = [store.cache / "partial", store.cache / CHECKPOINTS, store.cache / ARTEFACTS, store.root / GATES]
    for folder in folders:
        for path in _in(folder):
            if folder.name == "partial" or path.name.startswith(GONE):
                yield Item(LEFTOVER, (path,), size_of(path), path.lstat().st_mtime)
    places = [store.root, store.cache, store.cache / "jobs"]
    for suite in store.suites():
        places += [store.root / suite, *store.installations(suite), store.root / suite / "nights"]
    for place in places:
        for path in _in(place):
            if path.name.startswith(".") and path.name.endswith(".part") and path.is_file():
                with contextlib.suppress(OSError):
                    if time.time() - path.stat().st_mtime > PART_SECONDS:
                        yield Item(LEFTOVER, (path,), path.stat().st_size, path.stat().st_mtime)


def _in(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return sorted(Path(entry.path) for entry in entries)
    except OSError:
        return []
