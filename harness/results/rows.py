"""Records -> tidy rows: one observed number with all its coordinates (columns: docs/architecture.md).

The frame can always be rebuilt from the records; ``rows.parquet`` only makes reading it fast, and carries a digest of
the records that it was made from, so that a stale one is never read.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import pandas

from harness.errors import HarnessError, StoreError, UsageError, did_you_mean
from harness.results.observations import Observation, coordinates, observations
from harness.results.store import Records, Store

if TYPE_CHECKING:
    import pyarrow

COLUMNS = (
    "suite", "cell", "method", "stage", "technique", "task", "model", "data", "precision", "hardware", "seed", "params",
    "operation", "phase", "metric", "unit", "value", "sample", "step", "status", "reason", "flags", "environment",
    "installation", "commit", "dirty", "record", "started",
)  # fmt: skip
_VARYING = ("phase", "metric", "unit", "value", "sample")
_NUMBERS: dict[str, Any] = {"sample": "Int64", "seed": "Int64", "dirty": "boolean"}
_METADATA = b"harness"
_LAYOUT = 1


@dataclass(frozen=True)
class Compaction:
    """What ``compact`` wrote, and every file it could not read with the reason."""

    path: Path
    rows: int
    records: int
    unreadable: list[str]


def load(results: Path | str = Path("results"), suite: str | None = None) -> pandas.DataFrame:
    """Rows of one suite, or of every suite, below ``results``.

    ``frame.attrs["unreadable"]`` names each file that could not be read; ``UsageError`` where the suite has no folder.
    """
    store = Store(results)
    suites = store.suites()
    if suite is not None and suite not in suites:
        raise UsageError(f"no results for suite '{suite}' in {store.root}{did_you_mean(suite, suites)}; run it first")
    frames = [_load_suite(store, name) for name in ([suite] if suite is not None else suites)]
    return _concatenate(frames)


def rows_of(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of one record; ``UsageError`` where it holds an undeclared metric."""
    fixed = coordinates(record)
    return [{name: {**fixed, **found._asdict()}[name] for name in COLUMNS} for found in observations(record)]


def frame_of(records: Iterable[Mapping[str, Any]]) -> pandas.DataFrame:
    """Rows of records that are known to be good, in the order given."""
    pairs = [(coordinates(record), list(observations(record))) for record in records]
    return _assemble(pairs)


def compact(results: Path | str, suite: str) -> Compaction:
    """Write ``results/<suite>/rows.parquet`` from the records: the same records give the same bytes."""
    store = Store(results)
    found = store.records(suite)
    frame = _from_records(found, store.root)
    path = _parquet_path(store, suite)
    _replace(path, _parquet_bytes(frame, _digest(store, suite)))
    return Compaction(path, len(frame), len(found.records), frame.attrs["unreadable"])


def to_csv(frame: pandas.DataFrame, out: Path | TextIO) -> None:
    """Write rows as CSV; a missing value is an empty field."""
    frame.to_csv(out, index=False, lineterminator="\n")


def to_parquet(frame: pandas.DataFrame, out: Path) -> None:
    """Write rows as Parquet to ``out``."""
    _replace(out, _parquet_bytes(frame, ""))


def read_parquet(path: Path) -> pandas.DataFrame:
    """Read rows written by ``compact`` or ``to_parquet``; ``StoreError`` where the file is not one."""
    return _frame(_table(path))


def _load_suite(store: Store, suite: str) -> pandas.DataFrame:
    path = _parquet_path(store, suite)
    if path.is_file():
        table = _table(path)
        digest = _digest(store, suite)
        if _facts(table).get("digest") == digest:
            return _frame(table)
    return _from_records(store.records(suite), store.root)


def _from_records(found: Records, root: Path) -> pandas.DataFrame:
    unreadable = [f"{path.relative_to(root)}: {reason}" for path, reason in found.quarantined]
    pairs = []
    for record in found.records:
        try:
            pairs.append((coordinates(record), list(observations(record))))
        except (HarnessError, KeyError, TypeError, ValueError, AttributeError) as error:
            unreadable.append(f"{record['suite']}/{record['record']}: {type(error).__name__}: {error}")
    frame = _assemble(pairs)
    frame.attrs["unreadable"] = unreadable
    return frame


def _assemble(pairs: Sequence[tuple[dict[str, Any], list[Observation]]]) -> pandas.DataFrame:
    varying = pandas.DataFrame([found for _, every in pairs for found in every], columns=list(_VARYING))
    fixed = pandas.DataFrame([one for one, _ in pairs], columns=[name for name in COLUMNS if name not in _VARYING])
    fixed = _typed(fixed)
    which = [index for index, (_, every) in enumerate(pairs) for _ in every]
    repeated = fixed.take(which).reset_index(drop=True)
    frame = pandas.concat([repeated, _typed(varying)], axis=1)[list(COLUMNS)]
    frame.attrs["unreadable"] = []
    return frame


def _typed(frame: pandas.DataFrame) -> pandas.DataFrame:
    """Text as categories (a million rows repeat a few hundred texts), numbers that may be missing as nullable."""
    typed: dict[str, Any] = {}
    for name in frame.columns:
        column = frame[name]
        if name == "value":
            typed[name] = column.astype(float)
        elif name in _NUMBERS:
            typed[name] = pandas.array(column.tolist(), dtype=_NUMBERS[name])
        else:
            texts = sorted(set(column.dropna()))
            typed[name] = pandas.Categorical(column, categories=pandas.Index(texts, dtype="str"))
    return pandas.DataFrame(typed, index=frame.index)


def _concatenate(frames: list[pandas.DataFrame]) -> pandas.DataFrame:
    if len(frames) == 1:
        return frames[0]
    unreadable = [line for frame in frames for line in frame.attrs["unreadable"]]
    if not frames:
        return _assemble([])
    whole = _typed(pandas.concat(frames, ignore_index=True))
    whole.attrs["unreadable"] = unreadable
    return whole


def _parquet_path(store: Store, suite: str) -> Path:
    return store.root / suite / "rows.parquet"


def _digest(store: Store, suite: str) -> str:
    """Digest of which records a suite has. Records never change, so names and sizes tell them apart."""
    folder = store.root / suite
    names = sorted(
        f"{path.relative_to(folder)}:{path.stat().st_size}"
        for installation in store.installations(suite)
        for path in installation.glob("*.json")
        if path.name != "plan.json" and not path.name.startswith(".")
    )
    return hashlib.sha256("\n".join([str(_LAYOUT), *names]).encode()).hexdigest()


def _parquet_bytes(frame: pandas.DataFrame, digest: str) -> bytes:
    import pyarrow
    import pyarrow.parquet

    unreadable = frame.attrs.get("unreadable", [])
    numbers = {"value": pyarrow.float64(), "sample": pyarrow.int64(), "seed": pyarrow.int64(), "dirty": pyarrow.bool_()}
    texts = pyarrow.dictionary(pyarrow.int32(), pyarrow.string())
    schema = pyarrow.schema([(name, numbers.get(name, texts)) for name in COLUMNS])
    table = pyarrow.Table.from_pandas(frame[list(COLUMNS)], schema=schema, preserve_index=False)
    facts = json.dumps({"digest": digest, "unreadable": unreadable}, sort_keys=True).encode()
    table = table.replace_schema_metadata({_METADATA: facts})
    sink = io.BytesIO()
    pyarrow.parquet.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def _table(path: Path) -> pyarrow.Table:
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(path)
    except (OSError, pyarrow.ArrowException) as error:
        raise StoreError(f"cannot read {path}: {error}; delete it, it is rebuilt from the records") from None
    missing = [name for name in COLUMNS if name not in table.column_names]
    if missing:
        raise StoreError(f"{path} has no column '{missing[0]}'; delete it, it is rebuilt from the records")
    return table


def _facts(table: pyarrow.Table) -> dict[str, Any]:
    return json.loads((table.schema.metadata or {}).get(_METADATA, b"{}"))  # type: ignore[no-any-return]


def _frame(table: pyarrow.Table) -> pandas.DataFrame:
    nullable = {"int64": pandas.Int64Dtype(), "bool": pandas.BooleanDtype()}
    frame: pandas.DataFrame = table.select(list(COLUMNS)).to_pandas(types_mapper=lambda kind: nullable.get(str(kind)))
    # pyarrow gives categories of type object where a column has no text at all
    none = pandas.CategoricalDtype(pandas.Index([], dtype="str"))
    texts = [name for name in frame if isinstance(frame[name].dtype, pandas.CategoricalDtype)]
    empty = [name for name in texts if not frame[name].count()]
    frame = frame.astype(dict.fromkeys(empty, none))
    frame.attrs["unreadable"] = _facts(table).get("unreadable", [])
    return frame


def _replace(path: Path, content: bytes) -> None:
    """Put ``content`` at ``path`` whole or not at all."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(content)
        part.replace(path)
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror}; free space or choose another place") from None
