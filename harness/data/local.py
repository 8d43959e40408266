"""Local files as data sets: text, JSON, JSON lines, CSV and Parquet. The standard library reads all but Parquet.

One file is dealt into train, validation and test by hash; ``split: {train: a.csv, test: b.csv}`` names files instead
(without ``validation``, a tenth of train becomes it). Text is dealt by paragraph, and paragraphs that follow one
another in one split stay one document; a text file that is not dealt out is one document.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

from harness.data.columns import columns_of, read_as
from harness.data.rows import TEST_SHARE, VALIDATION_SHARE, Row, RowsDataset, Splits
from harness.data.splits import SPLITS, split_of
from harness.errors import DataError, did_you_mean
from harness.plain_text import one_line

ENDINGS = {
    "txt": "text", "text": "text", "md": "text", "jsonl": "jsonl", "jsonlines": "jsonl", "ndjson": "jsonl",
    "json": "json", "csv": "csv", "tsv": "tsv", "parquet": "parquet",
}  # fmt: skip


def check_local(spec: Mapping[str, Any]) -> None:
    """Raise ``DataError`` where the spec itself is wrong; does not touch the file."""
    if not spec.get("path") and not spec.get("split"):
        raise DataError("local data needs 'path', or 'split' with a file for train and test")
    for split in spec.get("split") or {}:
        if split not in SPLITS:
            raise DataError(f"split: unknown '{split}'{did_you_mean(str(split), SPLITS)} (known: {', '.join(SPLITS)})")
    for path in _files(spec).values():
        if format_of(path, spec.get("format")) == "text" and set(columns_of(spec)) != {"text"}:
            raise DataError(f"{path.name} is plain text: it has the view 'text' only")


def open_local(spec: Mapping[str, Any]) -> RowsDataset:
    """Open local files; they are read when the first view is asked for, missing ones are noticed now."""
    check_local(spec)
    files = _files(spec)
    for path in files.values():
        if not path.is_file():
            raise DataError(f"data file {path} does not exist")
    given = spec.get("format")
    first = next(iter(files.values()))
    columns = {"text": "text"} if format_of(first, given) == "text" else columns_of(spec)
    return RowsDataset(
        first.name, _fingerprint(files, read_as(spec, columns)), lambda: _read(files, given), columns, spec.get("view"),
        bool(spec.get("chat")),
    )  # fmt: skip


def format_of(path: Path, given: str | None) -> str:
    """Return the format by name or by the file's ending; ``DataError`` where neither is known."""
    ending = (given or path.suffix.lstrip(".")).lower()
    if ending not in ENDINGS:
        known = ", ".join(dict.fromkeys(ENDINGS.values()))
        raise DataError(f"{path.name}: unknown format '{ending}'{did_you_mean(ending, ENDINGS)} (known: {known})")
    return ENDINGS[ending]


def _files(spec: Mapping[str, Any]) -> dict[str, Path]:
    """Files by split; one file for everything is under ``all``. Files of a split are relative to ``path``'s folder."""
    if not spec.get("split"):
        return {"all": Path(spec["path"])}
    folder = Path(spec["path"]) if spec.get("path") else Path()
    folder = folder.parent if folder.suffix else folder
    return {split: folder / spec["split"][split] for split in SPLITS if split in spec["split"]}


def _read(files: Mapping[str, Path], given: str | None) -> Splits:
    if "all" in files and format_of(files["all"], given) == "text":
        return _dealt_paragraphs(files["all"], TEST_SHARE)
    splits = {"train" if split == "all" else split: _rows(path, given) for split, path in files.items()}
    if "train" in files and "validation" not in files and format_of(files["train"], given) == "text":
        splits |= {**_dealt_paragraphs(files["train"], 0.0), "test": splits.get("test", [])}
    return splits


def columns_in(path: Path) -> list[str] | None:
    """Columns of a file's first row, read as a sweep would read it; None for running text."""
    return None if format_of(path, None) == "text" else [str(name) for name in _rows(path, None)[0]]


def _fingerprint(files: Mapping[str, Path], columns: Mapping[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps(columns, sort_keys=True).encode())
    for split, path in files.items():
        with path.open("rb") as stream:
            digest.update(f"\n{split} {hashlib.file_digest(stream, 'sha256').hexdigest()}".encode())
    return digest.hexdigest()


def _rows(path: Path, given: str | None) -> list[Row]:
    readers: dict[str, Callable[[Path], list[Row]]] = {
        "text": lambda file: [{"text": _text(file)}], "jsonl": _json_lines, "json": _json, "csv": _csv,
        "tsv": lambda file: _csv(file, "\t"), "parquet": _parquet,
    }  # fmt: skip
    rows = readers[format_of(path, given)](path)
    if not rows or (list(rows[0]) == ["text"] and not any(str(row["text"]).strip() for row in rows)):
        raise DataError(f"data file {path} has no text")
    return rows


def _dealt_paragraphs(path: Path, test: float) -> Splits:
    """Documents of each split: runs of paragraphs that follow one another and were dealt to the same split."""
    paragraphs = [part.strip("\n") for part in _text(path).split("\n\n") if part.strip()]
    if not paragraphs:
        raise DataError(f"data file {path} has no text")
    splits: Splits = {split: [] for split in SPLITS}
    for split, run in groupby(paragraphs, key=lambda part: split_of(part.strip(), VALIDATION_SHARE, test)):
        splits[split].append({"text": "\n\n".join(run)})
    return splits


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")  # universal newlines: every line ends with \n
    except UnicodeDecodeError as error:
        raise DataError(f"data file {path} is not UTF-8 text (byte {error.start})") from None
    except OSError as error:
        raise DataError(f"data file {path} cannot be read: {error.strerror}") from None


def _json_lines(path: Path) -> list[Row]:
    rows = []
    for number, line in enumerate(_text(path).split("\n"), start=1):
        if line.strip():
            rows.append(_object(_parsed(line, f"{path}:{number}"), f"{path}:{number}"))
    return rows


def _json(path: Path) -> list[Row]:
    found = _parsed(_text(path), str(path))
    if isinstance(found, dict) and isinstance(found.get("data"), list):
        found = found["data"]
    if not isinstance(found, list):
        raise DataError(f"{path} must hold a list of objects (or {{\"data\": [...]}})")
    return [_object(row, f"{path}, item {number}") for number, row in enumerate(found, start=1)]


def _parsed(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: not valid JSON ({one_line(error, 200)})") from None


def _object(row: Any, where: str) -> Row:
    if not isinstance(row, dict):
        raise DataError(f"{where}: an object with named fields is needed, not {type(row).__name__}")
    return row


def _csv(path: Path, delimiter: str = ",") -> list[Row]:
    csv.field_size_limit(1 << 30)
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            rows: list[dict[Any, Any]] = list(csv.DictReader(stream, delimiter=delimiter, strict=True))
    except (csv.Error, UnicodeDecodeError, OSError) as error:
        raise DataError(f"data file {path} cannot be read as CSV: {error}") from None
    for row in rows:
        row.pop(None, None)  # fields that the first line does not name
    return list(rows)


def _parquet(path: Path) -> list[Row]:
    import pyarrow
    from pyarrow import parquet

    try:
        return list(parquet.read_table(path).to_pylist())
    except (pyarrow.ArrowException, OSError, ValueError, KeyError) as error:
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"data file {path} cannot be read as Parquet: {said}") from None
