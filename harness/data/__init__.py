"""Data sets by their spec: the embedded ``source``, local files, the hub. Light to import; packages load on reading.

A spec is the mapping of a suite's ``data`` entry: ``{"kind": "source"}``, ``{"kind": "local", "path": ...}`` or
``{"kind": "hub", "id": ..., "revision": ...}``. The planner asks ``views_of``; workers call ``open_dataset``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.contract import Dataset
from harness.data import source
from harness.data.prepared import PreparedDataset, write_prepared
from harness.errors import DataError, did_you_mean

KINDS = ("source", "local", "hub")


def views_of(spec: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the views that a spec will have, from the spec alone; ``DataError`` where it is wrong."""
    return source.VIEWS


def open_dataset(spec: Mapping[str, Any], *, prepared: Path | None = None, cache: Path) -> Dataset:
    """Open a data set: from ``prepared`` if given, else from where the spec says, keeping built files in ``cache``."""
    if prepared is not None:
        dataset = PreparedDataset(prepared)
        dataset.expected = dataset.fingerprint == source.EXPECTED_FINGERPRINT
        return dataset
    mark = source.fingerprint()
    path = cache / "data" / f"source-{mark}.zip"
    if not path.is_file():
        write_prepared("source", mark, source.build(), path, {"package": source.PACKAGE, "version": source.VERSION})
    return PreparedDataset(path, expected=mark == source.EXPECTED_FINGERPRINT)
