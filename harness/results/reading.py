"""Records one after another, so that a hundred thousand need not be in memory at once. Standard library alone."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from harness.results.quarantine import Records, Seen, read_into
from harness.results.record import Record
from harness.results.store import Store

_NAME = re.compile(r"[0-9a-z_-]+\.\d+\.json")


def stream(store: Store, suite: str, told: Records, paths: Iterable[Path] | None = None) -> Iterator[Record]:
    """Every readable record of a suite, or of the given files, in the order and by the rules of ``Store.records``.

    What cannot be read is told in ``told``, whose own list of records stays empty.
    """
    seen: Seen = {}
    for path in _paths(store, suite) if paths is None else paths:
        read_into(told, path, seen)
        if told.records:
            yield told.records.pop()


def _paths(store: Store, suite: str) -> Iterator[Path]:
    for installation in store.installations(suite):
        yield from (path for path in sorted(installation.iterdir()) if _NAME.fullmatch(path.name))
