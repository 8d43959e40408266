"""Cleaning a results folder: what goes under limits of count, age and size, and taking it away without harm by a kill.

What any limit keeps, stays: with two attempts and thirty days, what goes is neither among the last two nor younger. A
size takes no more than it must, and in the order of ``RANK``: what can be made again before what cannot.
Standard library alone.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.errors import StoreError
from harness.results import attempts
from harness.results.inventory import (
    ARTEFACT,
    CHECKPOINT,
    GATE,
    GATES,
    LEFTOVER,
    LOG,
    RANK,
    RECORD,
    Item,
)
from harness.results.made import ARTEFACTS, CHECKPOINTS, finish_removals, made_in, take_away, with_parts
from harness.results.store import Store
from harness.results.whole import sync_folder

CACHED = (CHECKPOINT, ARTEFACT)
COUNTED = (RECORD, LOG)


@dataclass(frozen=True)
class Limits:
    """What was asked for: attempts to keep of each step, age in seconds, size of the whole folder in bytes.

    ``suite``: of its records, logs and checkpoints alone. ``cached``: checkpoints and artefacts alone.
    """

    attempts: int | None = None
    seconds: float | None = None
    size: float | None = None
    suite: str | None = None
    cached: bool = False

    @property
    def any(self) -> bool:
        """Whether any limit was asked for."""
        return (self.attempts, self.seconds, self.size) != (None, None, None)


@dataclass
class Cleaning:
    """What goes, in order, each with why; what stays and why, where it is not simply within no limit.

    ``held`` are the folder's bytes before, ``over`` by how many it stays above the size that was asked for.
    """

    held: int
    going: dict[Item, str] = field(default_factory=dict)
    kept: dict[Item, str] = field(default_factory=dict)
    over: int = 0

    @property
    def freed(self) -> int:
        """Bytes of what goes."""
        return sum(item.size for item in self.going)


def choose(
    items: Sequence[Item], must_stay: Mapping[Item, str], limits: Limits, held: int, now: float
) -> Cleaning:
    """Say what goes under ``limits`` of ``items``, of which those in ``must_stay`` do not, whatever the limits.

    ``held``: bytes of the folder with everything in it. ``now``: seconds since the epoch.
    """
    found = Cleaning(held)
    stays = _within(items, limits, now)
    left = float(held)
    for item in sorted(items, key=lambda item: (RANK[item.kind], item.used if item.kind not in CACHED else 0.0)):
        why = must_stay.get(item) or stays.get(item)
        if item.kind == LEFTOVER:
            found.going[item] = "left half done by a process that ended"
        elif why is not None:
            found.kept[item] = why
        elif limits.any and (limits.size is None or left > limits.size):
            found.going[item] = _why(item, limits)
        left -= item.size if item in found.going else 0
    _keep_parts(found, items)
    if limits.size is not None:
        found.over = max(0, held - found.freed - int(limits.size))
    return found


def take(store: Store, cleaning: Cleaning, tell: Callable[[Item], None] = lambda item: None) -> None:
    """Take away what goes, one thing after another; whoever calls it holds the folder alone.

    Killed anywhere, it leaves each thing whole or gone, and the next cleaning does the rest. ``StoreError`` says how
    far it came where something cannot be removed.
    """
    cache = store.cache
    finish_removals(cache / CHECKPOINTS, cache / ARTEFACTS, store.root / GATES)
    if installation := store.known_installation():
        attempts.remember(cache, _highest(cleaning.going, installation))
    touched: set[Path] = set()
    for number, item in enumerate(cleaning.going):
        try:
            _remove(item)
        except OSError as error:
            raise StoreError(
                f"cannot remove {error.filename}: {error.strerror}; "
                f"{number} of {len(cleaning.going)} things were removed"
            ) from None
        touched.update(path.parent for path in item.paths)
        tell(item)
    for folder in touched:
        with contextlib.suppress(OSError):
            sync_folder(folder)


def _within(items: Iterable[Item], limits: Limits, now: float) -> dict[Item, str]:
    """What the limits themselves keep, and what they do not speak of."""
    every, found = list(items), {}
    last = _last_attempts(every, limits.attempts)
    suites = _suites(every)
    for item in every:
        if limits.suite is not None and suites.get(item, set()) != {limits.suite}:
            found[item] = f"not of {limits.suite} alone"
        elif limits.cached and item.kind not in CACHED:
            found[item] = "no checkpoint"
        elif item in last:
            found[item] = f"among the last {limits.attempts} of its step"
        elif limits.seconds is not None and now - item.used <= limits.seconds:
            found[item] = "not old enough"
        elif limits.seconds is None and limits.size is None and item.kind not in COUNTED:
            found[item] = "no attempt"
    return found


def _last_attempts(items: Iterable[Item], number: int | None) -> set[Item]:
    if number is None:
        return set()
    of: dict[tuple[str, ...], list[Item]] = {}
    for item in items:
        if item.kind in COUNTED:
            of.setdefault((item.kind, item.suite, item.installation, item.step), []).append(item)
    return {
        item for same in of.values() for item in sorted(same, key=lambda item: -item.attempt)[:number]
    }  # fmt: skip


def _suites(items: Iterable[Item]) -> dict[Item, set[str]]:
    """The suites that a thing is of: a record's own, a checkpoint's and a log's by the records of the step."""
    every = list(items)
    of_step: dict[str, set[str]] = {}
    for item in every:
        if item.kind == RECORD:
            of_step.setdefault(item.step, set()).add(item.suite)
    return {item: {item.suite} if item.kind == RECORD else of_step.get(item.step, set()) for item in every}


def _why(item: Item, limits: Limits) -> str:
    told = []
    if limits.attempts is not None and item.kind in COUNTED:
        told.append(f"not among the last {limits.attempts} of its step")
    if limits.seconds is not None:
        told.append("old enough")
    if limits.size is not None:
        told.append("for the size")
    return ", ".join(told)


def _keep_parts(found: Cleaning, items: Iterable[Item]) -> None:
    """A checkpoint stays where one that stays holds parts of it."""
    checkpoints = [item for item in items if item.kind == CHECKPOINT]
    if not any(item in found.going for item in checkpoints):
        return
    every = made_in(checkpoints[0].paths[0].parents[1])
    below = with_parts({item.step for item in checkpoints if item not in found.going}, every)
    for item in [item for item in checkpoints if item in found.going and item.step in below]:
        del found.going[item]
        found.kept[item] = "a checkpoint that stays holds parts of it"


def _highest(going: Iterable[Item], installation: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for item in going:
        if item.kind == RECORD and item.installation == installation:
            found[item.step] = max(item.attempt, found.get(item.step, 0))
    return found


def _remove(item: Item) -> None:
    for path in item.paths:
        with contextlib.suppress(FileNotFoundError):
            if item.kind in (*CACHED, GATE) or (path.is_dir() and not path.is_symlink()):
                take_away(path)
            else:
                path.unlink()
