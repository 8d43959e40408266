"""Whether a Parquet file holds rows of ours: nobody knows what made it, and everything after it relies on them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from harness import plain_json
from harness.errors import StoreError
from harness.metrics import METRICS
from harness.results.record import OPERATIONS, STATUSES
from harness.results.shape import LARGEST, is_time

MOST_ROWS = 2_000_000_000
LARGEST_BYTES = 1 << 36  # of everything in the file, unpacked: a small file may hold more than any memory
NUMBERS = {"value": "double", "sample": "int64", "seed": "int64", "dirty": "bool"}
_ADVICE = "delete it, it is rebuilt from the records"


def check_size(path: Path) -> None:
    """``StoreError`` where it is no Parquet file or would unpack to more than a machine has; reads the end alone."""
    import pyarrow
    import pyarrow.parquet

    try:
        told = pyarrow.parquet.read_metadata(path)
        size = sum(told.row_group(number).total_byte_size for number in range(told.num_row_groups))
    except (OSError, ValueError, KeyError, pyarrow.ArrowException) as error:
        raise StoreError(f"cannot read {path}: {first_line(error)}; {_ADVICE}") from None
    if told.num_rows > MOST_ROWS or size > LARGEST_BYTES:
        raise StoreError(f"{path} would unpack to {told.num_rows} rows of {size} bytes; {_ADVICE}")


def check_table(path: Path, table: Any, columns: tuple[str, ...]) -> None:
    """``StoreError`` where a table's columns are not of our types, or hold words that no record of ours gives."""
    for name in columns:
        if name not in table.column_names:
            raise StoreError(f"{path} has no column '{name}'; {_ADVICE}")
        if not _fits(name, table.schema.field(name).type):
            raise StoreError(f"{path} has a column '{name}' of another kind; {_ADVICE}")
    try:
        table.validate(full=True)
    except (ValueError, LookupError, TypeError) as error:  # which is what Arrow's errors are
        raise StoreError(f"cannot read {path}: {first_line(error)}; {_ADVICE}") from None
    words = {"metric": (*METRICS, "status"), "status": STATUSES, "operation": OPERATIONS}
    for name, known in words.items():
        if not set(_words(table, name)) <= set(known):
            raise StoreError(f"{path} has other words than records have in its column '{name}'; {_ADVICE}")
    if not all(map(_is_mapping, _words(table, "params"))):
        raise StoreError(f"{path} has other parameters than records have in its column 'params'; {_ADVICE}")
    if not all(map(is_time, _words(table, "started"))):
        raise StoreError(f"{path} has other times than records have in its column 'started'; {_ADVICE}")
    if _most(table.column("value")) > LARGEST:
        raise StoreError(f"{path} holds numbers that nothing measures; {_ADVICE}")


def facts_in(text: bytes) -> dict[str, Any]:
    """What is written beside the rows: the digest of the records, and the lines on what could not be read."""
    try:
        found = plain_json.loads(text)
    except plain_json.NotPlain:
        return {}
    lines = found.get("unreadable", []) if isinstance(found, dict) else None
    if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
        return {}
    return {"digest": found.get("digest"), "unreadable": lines}


def first_line(error: BaseException) -> str:
    """What a library says, on one line."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def facts_of(digest: str, unreadable: list[str]) -> bytes:
    """The text that ``facts_in`` reads."""
    return json.dumps({"digest": digest, "unreadable": unreadable}, sort_keys=True).encode()


def _is_mapping(text: str) -> bool:
    try:
        return isinstance(plain_json.loads(text), dict)
    except plain_json.NotPlain:
        return False


def _fits(name: str, kind: Any) -> bool:
    if name in NUMBERS:
        return str(kind) == NUMBERS[name]
    inner = getattr(kind, "value_type", kind)
    return str(inner) in ("string", "large_string", "null") and not str(kind).startswith(("list", "struct", "map"))


def _words(table: Any, name: str) -> list[str]:
    return [word for word in table.column(name).unique().to_pylist() if word is not None]


def _most(column: Any) -> float:
    import pyarrow.compute

    found = pyarrow.compute.min_max(column).as_py()
    return max((abs(value) for value in found.values() if value is not None), default=0.0)
