"""Which record files a suite has at one moment: what rows are made from, and whether rows that were kept are of now.

Records never change, so their names and sizes tell one state of a suite from every other. Standard library alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from harness.errors import StoreError
from harness.results.inside import check_inside
from harness.results.record import write_file
from harness.results.store import Store

LAYOUT = 1  # of the rows that are made from a listing


@dataclass(frozen=True)
class Listing:
    """Record files as ``<installation>/<name>`` with their sizes, in the order in which records are read."""

    folder: Path
    files: tuple[tuple[str, int], ...]

    @cached_property
    def text(self) -> str:
        """What the digest is of: the layout, and a line for each file."""
        return "\n".join([str(LAYOUT), *sorted(f"{name}:{size}" for name, size in self.files)])

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the text, in hex."""
        return hashlib.sha256(self.text.encode("utf-8", "surrogateescape")).hexdigest()

    def paths(self, names: Sequence[str] | None = None) -> list[Path]:
        """Where the files lie, all of them or those named."""
        return [self.folder / name for name in (names if names is not None else [name for name, _ in self.files])]


def listing_of(store: Store, suite: str) -> Listing:
    """The record files of a suite now, of every installation; whatever comes or goes later is not in it."""
    found: list[tuple[str, int]] = []
    for installation in store.installations(suite):
        with os.scandir(installation) as entries:
            for entry in entries:
                if entry.name.endswith(".json") and entry.name != "plan.json" and not entry.name.startswith("."):
                    with contextlib.suppress(FileNotFoundError):
                        found.append((f"{installation.name}/{entry.name}", entry.stat().st_size))
    found.sort(key=lambda file: tuple(file[0].split("/")))
    return Listing(store.root / suite, tuple(found))


def remember(store: Store, suite: str, listing: Listing) -> None:
    """Keep the listing that rows were made from, so that the next ones need read only what is new; if it can be."""
    with contextlib.suppress(StoreError):
        write_file(check_inside(store.root, _path(store, suite)), listing.text)


def remembered(store: Store, suite: str, digest: str) -> dict[str, int] | None:
    """Files and sizes of the listing with this digest, in the order of reading; None where it is not remembered."""
    try:
        content = _path(store, suite).read_bytes()
    except OSError:
        return None
    if hashlib.sha256(content).hexdigest() != digest:
        return None
    lines = content.decode("utf-8", "surrogateescape").split("\n")[1:]
    files = [(name, int(size)) for name, _, size in (line.rpartition(":") for line in lines)]
    return dict(sorted(files, key=lambda file: tuple(file[0].split("/"))))


def _path(store: Store, suite: str) -> Path:
    return store.cache / "rows" / f"{suite}.listing"
