"""Data sets of the hub: fetched at one commit through ``datasets``, kept as a prepared file beside the hub's own copy.

A worker opens that file with the standard library, and nobody is asked for anything. An ``id`` that is an absolute
path is a folder of files, which ``datasets`` reads where it lies.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.data.columns import check_columns, columns_of, read_as, used_columns
from harness.data.prepared import PreparedDataset, write_prepared
from harness.data.rows import RowsDataset, Splits
from harness.data.splits import SPLITS
from harness.errors import DataError, did_you_mean
from harness.hub.cache import Repository, is_offline
from harness.hub.fetching import Fetch, Watcher, begin
from harness.plain_text import one_line

# Part of a prepared file's name: raised whenever the same rows would become other items.
BUILD = 1
CARD = "README.md"
_PLACE = ("kind", "id", "revision", "commit", "path")


def check_hub(spec: Mapping[str, Any]) -> None:
    """Raise ``DataError`` where the spec itself is wrong; asks nobody."""
    if not spec.get("id"):
        raise DataError("hub data needs 'id', the name of the data set on the hub")
    for split in spec.get("split") or {}:
        if split not in SPLITS:
            raise DataError(f"split: unknown '{split}'{did_you_mean(str(split), SPLITS)} (known: {', '.join(SPLITS)})")


def commit_of(spec: Mapping[str, Any]) -> str | None:
    """The commit that a spec means here; None where its revision was never fetched."""
    if spec.get("commit"):
        return str(spec["commit"])
    return Repository("dataset", str(spec["id"])).commit(str(spec.get("revision") or "main"))


def is_here(spec: Mapping[str, Any]) -> bool:
    """Whether a data set can be opened without asking anybody."""
    commit = commit_of(spec)
    return _is_folder(spec) or (commit is not None and _prepared_file(spec, commit).is_file())


def open_hub(spec: Mapping[str, Any]) -> PreparedDataset | RowsDataset:
    """Open a data set that was fetched; ``DataError`` where it was not."""
    check_hub(spec)
    if _is_folder(spec):
        return _opened_folder(spec)
    commit = commit_of(spec)
    if commit is None or not _prepared_file(spec, commit).is_file():
        where = f"hub data '{spec['id']}' at revision {spec.get('revision') or 'main'}"
        offline = " (HF_HUB_OFFLINE is set: unset it for that)" if is_offline() else ""
        raise DataError(f"{where} is not in the hub's cache here: fetch it with `harness prepare`{offline}")
    return PreparedDataset(_prepared_file(spec, commit))


def fetch(spec: Mapping[str, Any], watcher: Watcher) -> Fetch | None:
    """Bring a data set into the hub's cache and prepare it; ``DataError`` in one line. None: it is a folder here."""
    check_hub(spec)
    place = Path(str(spec["id"]))
    if place.is_absolute():
        return None
    if place.exists():
        raise DataError(f"hub data '{spec['id']}' is a file or folder here, which would be read instead: use path:")
    revision = str(spec.get("revision") or "main")
    asked = begin(Repository("dataset", str(spec["id"])), spec.get("commit") or revision, watcher, DataError)
    file = _prepared_file(spec, asked.commit)
    if not file.is_file():
        rows = _fetched(spec, asked)
        views = {view: {split: rows.items(view, split) for split in SPLITS} for view in rows.views()}
        write_prepared(rows.name, rows.fingerprint, views, file, {"commit": asked.commit})
    asked.repository.remember(asked.revision, asked.commit)
    return asked


def _prepared_file(spec: Mapping[str, Any], commit: str) -> Path:
    """Where what a spec makes of a commit is kept: in the repository's own folder, so that it goes when that goes."""
    rest = {key: value for key, value in spec.items() if key not in _PLACE and value is not None}
    mark = hashlib.sha256(json.dumps([BUILD, rest], sort_keys=True).encode()).hexdigest()[:16]
    return Repository("dataset", str(spec["id"])).folder / "prepared" / f"{commit}-{mark}.zip"


def _is_folder(spec: Mapping[str, Any]) -> bool:
    return Path(str(spec["id"])).is_absolute()


def _opened_folder(spec: Mapping[str, Any]) -> RowsDataset:
    with tempfile.TemporaryDirectory() as cache:
        with _in_one_line(spec):
            import datasets

            found = datasets.load_dataset(spec["id"], spec.get("subset"), cache_dir=cache)
        return _dataset(spec, found)


def _fetched(spec: Mapping[str, Any], asked: Fetch) -> RowsDataset:
    """Rows of all splits: ``datasets`` says which files they are of, and reads them once they are here and checked.

    What it keeps of its own is thrown away: where the hub cannot be reached it would take another revision from there.
    """
    asked.check_readable()
    asked.get(name for name in (CARD,) if name in asked.files)  # which says what belongs to which split
    with tempfile.TemporaryDirectory() as cache:
        with _in_one_line(spec):
            import datasets

            datasets.disable_progress_bars()
            builder = datasets.load_dataset_builder(
                spec["id"], spec.get("subset"), revision=asked.commit, cache_dir=cache
            )
        _use_local_files(builder, asked)
        with _in_one_line(spec):
            builder.download_and_prepare()
            found = builder.as_dataset()
        return _dataset(spec, found)


def _use_local_files(builder: Any, asked: Fetch) -> None:
    """Give a builder the checked files in the hub's cache in place of their addresses."""
    from datasets.data_files import DataFilesDict, DataFilesList

    prefix = f"hf://datasets/{asked.repository.id}@{asked.commit}/"
    files: Any = builder.config.data_files or {}
    here = {}
    for split, addresses in files.items():
        if strange := [address for address in addresses if not address.startswith(prefix)]:
            raise DataError(f"{asked.what} reads files from elsewhere: {one_line(strange[0], 100)}")
        paths = asked.get(address.removeprefix(prefix) for address in addresses)
        here[split] = DataFilesList([str(path) for path in paths], [(asked.commit,)] * len(paths))
    builder.config.data_files = DataFilesDict(here)


def _dataset(spec: Mapping[str, Any], found: Mapping[str, Any]) -> RowsDataset:
    columns = columns_of(spec)
    splits = _rows(spec, found, columns)
    mark = _fingerprint(splits, read_as(spec, columns))
    return RowsDataset(str(spec["id"]), mark, lambda: splits, columns, spec.get("view"), bool(spec.get("chat")))


def _fingerprint(splits: Splits, columns: Mapping[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps(columns, sort_keys=True).encode())
    for split, rows in splits.items():
        digest.update(f"\n{split}\n".encode())
        for row in rows:
            digest.update(json.dumps(row, sort_keys=True, ensure_ascii=False, default=str).encode() + b"\n")
    return digest.hexdigest()


def _rows(spec: Mapping[str, Any], found: Mapping[str, Any], columns: Mapping[str, Any]) -> Splits:
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


@contextmanager
def _in_one_line(spec: Mapping[str, Any]) -> Iterator[None]:
    """Give whatever ``datasets`` raises one line: it has a dozen unrelated types for what cannot be read."""
    try:
        yield
    except ImportError:
        raise DataError(f"hub data '{spec['id']}' needs the package datasets: pip install datasets") from None
    except Exception as error:
        why = one_line((str(error).strip().splitlines() or [type(error).__name__])[0], 300)
        where = f"hub data '{spec['id']}' at revision {spec.get('revision') or 'main'}"
        raise DataError(f"{where} cannot be read: {why}") from error
