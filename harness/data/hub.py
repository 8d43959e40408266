"""Data sets of the hub, through ``datasets``. A revision pins what is read; ``HF_HUB_OFFLINE`` is respected."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.data.columns import check_columns, columns_of, used_columns
from harness.data.rows import RowsDataset, Splits
from harness.data.splits import SPLITS
from harness.errors import DataError, did_you_mean


def check_hub(spec: Mapping[str, Any]) -> None:
    """Raise ``DataError`` where the spec itself is wrong; asks nobody."""
    if not spec.get("id"):
        raise DataError("hub data needs 'id', the name of the data set on the hub")
    for split in spec.get("split") or {}:
        if split not in SPLITS:
            raise DataError(f"split: unknown '{split}'{did_you_mean(str(split), SPLITS)} (known: {', '.join(SPLITS)})")


def open_hub(spec: Mapping[str, Any]) -> RowsDataset:
    """Open a hub data set: fetch it, or find it in the hub's cache."""
    check_hub(spec)
    columns = columns_of(spec)
    splits = _rows(spec, columns)
    return RowsDataset(str(spec["id"]), _fingerprint(splits, columns), lambda: splits, columns, spec.get("view"))


def _fingerprint(splits: Splits, columns: Mapping[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps(columns, sort_keys=True).encode())
    for split, rows in splits.items():
        digest.update(f"\n{split}\n".encode())
        for row in rows:
            digest.update(json.dumps(row, sort_keys=True, ensure_ascii=False, default=str).encode() + b"\n")
    return digest.hexdigest()


def _rows(spec: Mapping[str, Any], columns: Mapping[str, Any]) -> Splits:
    found = _load(spec)
    wanted = spec.get("split") or {split: split for split in SPLITS if split in found}
    if not wanted:
        raise DataError(f"hub data '{spec['id']}' has no train, validation or test; name its splits with `split:` "
                        f"(it has: {', '.join(found)})")  # fmt: skip
    splits: Splits = {}
    for split, theirs in wanted.items():
        if theirs not in found:
            raise DataError(f"hub data '{spec['id']}' has no split '{theirs}'{did_you_mean(theirs, found)} "
                            f"(it has: {', '.join(found)})")  # fmt: skip
        table = found[theirs]
        check_columns(columns, table.column_names, f"hub data '{spec['id']}'")
        splits[split] = list(table.select_columns(list(used_columns(columns))))
    return splits


def _load(spec: Mapping[str, Any]) -> Mapping[str, Any]:
    place = Path(str(spec["id"]))
    if not place.is_absolute() and place.exists():  # an absolute one says itself that it is no name on the hub
        raise DataError(f"hub data '{spec['id']}' is a file or folder here, which would be read instead: use path:")
    try:
        import datasets
    except ImportError:
        raise DataError(f"hub data '{spec['id']}' needs the package datasets: pip install datasets") from None
    try:
        found: Mapping[str, Any] = datasets.load_dataset(
            spec["id"], spec.get("subset"), revision=spec.get("revision") or "main"
        )
    except Exception as error:  # the library raises a dozen unrelated types for "not there" and "cannot reach"
        raise DataError(_failure(spec, error)) from error
    return found


def _failure(spec: Mapping[str, Any], error: Exception) -> str:
    import os

    why = (str(error).strip().splitlines() or [type(error).__name__])[0]
    offline = os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on")
    hint = "; HF_HUB_OFFLINE is set, so only data in the hub's cache can be read" if offline else ""
    return f"hub data '{spec['id']}' at revision {spec.get('revision') or 'main'} cannot be read: {why}{hint}"
