"""Rows as Parquet: the same rows give the same bytes, and a damaged page is found when it is read."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas

from harness.errors import StoreError
from harness.results import compacted
from harness.results.assembly import COLUMNS
from harness.results.inside import check_inside
from harness.results.whole import put

if TYPE_CHECKING:
    import pyarrow

_METADATA = b"harness"


@dataclass(frozen=True)
class Facts:
    """What a file says of itself: the digest of the records that its rows are of, and which could not be read."""

    digest: str
    unreadable: list[str]
    rows: int


def to_bytes(frame: pandas.DataFrame, digest: str) -> bytes:
    """The file's content."""
    import pyarrow
    import pyarrow.parquet

    unreadable = frame.attrs.get("unreadable", [])
    numbers = {"value": pyarrow.float64(), "sample": pyarrow.int64(), "seed": pyarrow.int64(), "dirty": pyarrow.bool_()}
    texts = pyarrow.dictionary(pyarrow.int32(), pyarrow.string())
    schema = pyarrow.schema([(name, numbers.get(name, texts)) for name in COLUMNS])
    table = pyarrow.Table.from_pandas(frame[list(COLUMNS)], schema=schema, preserve_index=False)
    table = table.replace_schema_metadata({_METADATA: compacted.facts_of(digest, unreadable)})
    sink = io.BytesIO()
    pyarrow.parquet.write_table(table, sink, compression="zstd", write_page_checksum=True)
    return sink.getvalue()


def facts_of(path: Path) -> Facts:
    """What a file says of itself, without reading its rows; ``StoreError`` where it is none."""
    import pyarrow
    import pyarrow.parquet

    compacted.check_size(path)
    try:
        told = pyarrow.parquet.read_metadata(path)
    except (OSError, pyarrow.ArrowException) as error:
        raise _damaged(path, error) from None
    return _facts(told.metadata or {}, told.num_rows)


def read(path: Path) -> tuple[pandas.DataFrame, str]:
    """The rows of a file and the digest of the records that they are of; ``StoreError`` where it is none.

    ``attrs["unreadable"]`` of the frame names the records that could not be read.
    """
    table = _table(path)
    facts = _facts(table.schema.metadata or {}, table.num_rows)
    frame = _frame(table)
    frame.attrs["unreadable"] = facts.unreadable
    return frame, facts.digest


def replace(path: Path, content: bytes, root: Path | None = None) -> None:
    """Put ``content`` at ``path`` whole or not at all, however many others do the same; never out of ``root``."""
    if root is not None:
        check_inside(root, path)
    try:
        put(path, content)
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror}; free space or choose another place") from None


def _table(path: Path) -> pyarrow.Table:
    import pyarrow
    import pyarrow.parquet

    compacted.check_size(path)
    try:
        table = pyarrow.parquet.read_table(path, page_checksum_verification=True)
    except (OSError, pyarrow.ArrowException) as error:
        raise _damaged(path, error) from None
    compacted.check_table(path, table, COLUMNS)
    return table


def _facts(metadata: dict[bytes, bytes], rows: int) -> Facts:
    told = compacted.facts_in(metadata.get(_METADATA, b"{}"))
    return Facts(str(told.get("digest") or ""), told.get("unreadable", []), rows)


def _frame(table: pyarrow.Table) -> pandas.DataFrame:
    nullable = {"int64": pandas.Int64Dtype(), "bool": pandas.BooleanDtype()}
    frame: pandas.DataFrame = table.select(list(COLUMNS)).to_pandas(types_mapper=lambda kind: nullable.get(str(kind)))
    # pyarrow gives categories of type object where a column has no text at all
    none = pandas.CategoricalDtype(pandas.Index([], dtype="str"))
    texts = [name for name in frame if isinstance(frame[name].dtype, pandas.CategoricalDtype)]
    empty = [name for name in texts if not frame[name].count()]
    return frame.astype(dict.fromkeys(empty, none))


def _damaged(path: Path, error: Exception) -> StoreError:
    return StoreError(f"cannot read {path}: {compacted.first_line(error)}; delete it, it is rebuilt from the records")
