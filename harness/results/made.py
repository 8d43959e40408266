"""What steps made and others need, kept in the cache: checkpoints and artefacts. All of it can be made again.

A checkpoint may refer to parts of others. What is taken away is first renamed out of its place, in one act, and then
deleted: a process that is killed in between leaves nothing that looks whole. Standard library alone.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.results.whole import sync_folder

CHECKPOINTS, ARTEFACTS = "checkpoints", "artefacts"
GONE = ".gone-"  # how the name begins of what was taken away and is being deleted
SEAL = "checkpoint.json"
# Size and references by inode: what is sealed does not change, what is made again is another folder.
Measured = dict[int, tuple[int, frozenset[str]]]
_NONE: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Made:
    """One checkpoint or artefact: ``used`` is when it was made or last opened (seconds since the epoch).

    ``refers``: steps whose checkpoints hold parts of this one. ``whole`` is False where it has no seal.
    """

    kind: str
    step: str
    path: Path
    size: int
    used: float
    refers: frozenset[str] = frozenset()
    whole: bool = True


def made_in(cache: Path, measured: Measured | None = None) -> list[Made]:
    """Every checkpoint and artefact of a cache; ``measured`` keeps what need not be looked at again."""
    known = {} if measured is None else measured
    return [found for kind in (CHECKPOINTS, ARTEFACTS) for found in _of_kind(cache, kind, known)]


def bytes_in(cache: Path, measured: Measured) -> int:
    """Bytes of every checkpoint and artefact of a cache, without a list of them: it is asked after every step."""
    total = 0
    for kind in (CHECKPOINTS, ARTEFACTS):
        with contextlib.suppress(OSError), os.scandir(cache / kind) as entries:
            for entry in entries:
                total += _measured(kind, entry, measured)[0] if _is_made(entry) else 0
    return total


def touch(cache: Path, steps: Iterable[str]) -> None:
    """Say that what these steps made was used now."""
    for step in steps:
        for place in (cache / CHECKPOINTS / step / SEAL, cache / ARTEFACTS / step):
            with contextlib.suppress(OSError):
                os.utime(place)


def with_parts(steps: Iterable[str], every: Iterable[Made]) -> set[str]:
    """These steps, and those whose checkpoints hold parts of theirs."""
    return _closure(steps, _references(every))


def oldest_first(every: Iterable[Made]) -> list[Made]:
    """In the order in which they may go: least recently used first, what others hold parts of after those.

    Using a checkpoint uses those that it refers to. One without a seal is of no use and comes first.
    """
    listed = list(every)
    references, used = _references(listed), last_used(listed)
    closures = {step: _closure([step], references) for step in references}

    def place(one: Made) -> tuple[bool, float, int, str, str]:
        return one.whole, used[one.step], -len(closures.get(one.step, ())), one.kind, one.step

    return sorted(listed, key=place)


def last_used(every: Iterable[Made]) -> dict[str, float]:
    """When what each step made was last used, itself or by a checkpoint that holds parts of it."""
    listed = list(every)
    references = _references(listed)
    found = {one.step: one.used for one in listed}
    for one in listed:
        for below in _closure([one.step], references) if one.kind == CHECKPOINTS else ():
            found[below] = max(found.get(below, 0.0), one.used)
    return found


def take_away(path: Path) -> None:
    """Remove a folder, in one act for all who look; ``OSError`` where it cannot be moved.

    It is renamed beside itself: the folder that holds it may lie on another disk than the cache.
    """
    away = path.with_name(f"{GONE}{path.name}-{secrets.token_hex(4)}")
    path.rename(away)
    sync_folder(path.parent)
    shutil.rmtree(away, ignore_errors=True)


def finish_removals(*folders: Path) -> None:
    """Delete what ended processes had taken away in these folders and had not deleted yet."""
    for folder in folders:
        with contextlib.suppress(OSError):
            for path in folder.glob(f"{GONE}*"):
                shutil.rmtree(path, ignore_errors=True)


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files below a folder; links are not followed, what goes meanwhile is left out."""
    total, todo = 0, [path]
    while todo:
        here = todo.pop()
        with contextlib.suppress(OSError):
            if not here.is_dir() or here.is_symlink():
                total += here.lstat().st_size
                continue
            for entry in os.scandir(here):
                if entry.is_dir(follow_symlinks=False):
                    todo.append(Path(entry.path))
                else:
                    total += entry.stat(follow_symlinks=False).st_size
    return total


def _of_kind(cache: Path, kind: str, known: Measured) -> Iterator[Made]:
    try:
        entries = sorted(os.scandir(cache / kind), key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        with contextlib.suppress(FileNotFoundError):
            if _is_made(entry):
                yield _one(kind, entry, known)


def _is_made(entry: os.DirEntry[str]) -> bool:
    return entry.is_dir(follow_symlinks=False) and not entry.name.startswith(".")


def _measured(kind: str, entry: os.DirEntry[str], known: Measured) -> tuple[int, frozenset[str]]:
    """Size and references, looked at once."""
    key = entry.inode()
    if key not in known:
        path = Path(entry.path)
        known[key] = (size_of(path), (kind == CHECKPOINTS and _refers(path / SEAL, path.name)) or _NONE)
    return known[key]


def _one(kind: str, entry: os.DirEntry[str], known: Measured) -> Made:
    path = Path(entry.path)
    size, refers = _measured(kind, entry, known)
    marker = path / SEAL if kind == CHECKPOINTS else path
    try:
        return Made(kind, path.name, path, size, marker.stat().st_mtime, refers)
    except OSError:
        return Made(kind, path.name, path, size, 0.0, refers, whole=False)


def _refers(seal: Path, step: str) -> frozenset[str]:
    """Steps whose checkpoints a sealed one refers to; none where its file cannot be read (it is then of no use)."""
    try:
        parts: Mapping[str, str] = json.loads(seal.read_text())["parts"]
        owners = {_owner(Path(place), seal.parents[1]) for place in parts.values()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return frozenset()
    return frozenset(owner for owner in owners if owner not in (None, step))


def _owner(place: Path, checkpoints: Path) -> str | None:
    """The step in whose checkpoint a part lies; absolute where the folder of checkpoints is a link to another disk."""
    if place.is_absolute():
        root = checkpoints.resolve()
        return place.relative_to(root).parts[0] if place.is_relative_to(root) and place != root else None
    return place.parts[1] if len(place.parts) > 1 and place.parts[0] == CHECKPOINTS else None


def _references(every: Iterable[Made]) -> dict[str, frozenset[str]]:
    return {one.step: one.refers for one in every if one.kind == CHECKPOINTS}


def _closure(steps: Iterable[str], references: Mapping[str, frozenset[str]]) -> set[str]:
    found = set(steps)
    todo = list(found)
    while todo:
        more = references.get(todo.pop(), frozenset()) - found
        found |= more
        todo += more
    return found
