"""The cache keeps itself within a limit: what was not used for longest goes, unless a step to come needs it.

Launchers call it between steps. All that goes can be made again by the steps that made it, and the plan does so by
itself where a step needs what is gone. Standard library alone.
"""

from __future__ import annotations

import contextlib
import math
import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from harness.errors import UsageError
from harness.results.made import (
    ARTEFACTS,
    CHECKPOINTS,
    Made,
    Measured,
    bytes_in,
    finish_removals,
    made_in,
    oldest_first,
    take_away,
    touch,
    with_parts,
)
from harness.results.pending import Pending
from harness.results.store import Store

VARIABLE = "HARNESS_CACHE_GB"
MOST_BYTES = 100e9
SHARE = 0.5  # of the disk space that there would be without the cache


@dataclass(frozen=True)
class Trimmed:
    """What went. ``over`` is by how many bytes the cache is above its limit all the same: what it holds is needed."""

    gone: tuple[Made, ...] = ()
    over: int = 0

    @property
    def size(self) -> int:
        """Bytes that became free."""
        return sum(one.size for one in self.gone)


class CacheLimit:
    """The limit of one results folder's cache, for one launcher; ``UsageError`` where the variable is no size."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._asked = asked_bytes()
        self._measured: Measured = {}
        self._pending = Pending(store)
        finish_removals(store.cache / CHECKPOINTS, store.cache / ARTEFACTS)

    def after(self, used: Iterable[str], needed: Callable[[], Iterable[str]], suite: str | None = None) -> Trimmed:
        """Call it when a step has ended and before the next begins.

        ``used``: the step and those whose checkpoints or artefacts it opened. ``needed``: those that steps to come, or
        running elsewhere, open; asked for only where the limit is exceeded. ``suite``: the one that these are of.

        Below the limit it lists two folders (some 15 microseconds for each checkpoint that there is); above it, the
        plans of other suites are read too, once for each.
        """
        touch(self._store.cache, used)
        held = bytes_in(self._store.cache, self._measured)
        limit = limit_bytes(self._store.cache, held, self._asked)
        if held <= limit:
            return Trimmed()
        every = made_in(self._store.cache, self._measured)
        kept = with_parts({*needed(), *self._pending.needed_now(without=suite)}, every)
        later = with_parts(self._pending.needed(without=suite), every)
        free = [one for one in oldest_first(every) if one.step not in kept]
        gone: list[Made] = []
        for one in [*(one for one in free if one.step not in later), *(one for one in free if one.step in later)]:
            if held <= limit:
                break
            with contextlib.suppress(OSError):
                take_away(one.path)
                gone.append(one)
                held -= one.size
        return Trimmed(tuple(gone), max(0, held - int(limit)))


def asked_bytes() -> float | None:
    """The limit that the environment sets, or None; ``UsageError`` where it is no number of gigabytes."""
    text = os.environ.get(VARIABLE, "").strip()
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not value >= 0:
        raise UsageError(f"{VARIABLE}={text}: write a number of gigabytes, like 20; 0 keeps only what is needed next")
    return value * 1e9


def limit_bytes(cache: Path, held: int, asked: float | None = None) -> float:
    """How large a cache that holds so many bytes may be: as asked for, else half of the disk, and 100 GB at most."""
    if asked is not None:
        return asked
    try:
        free = shutil.disk_usage(cache).free
    except OSError:
        return MOST_BYTES
    return min(MOST_BYTES, SHARE * (free + held))
