"""Records -> tidy rows: one observed number with all its coordinates (columns: docs/architecture.md).

The frame can always be rebuilt from the records; ``rows.parquet`` only makes reading it fast, and carries a digest of
the records that it was made from, so that a stale one is never read. Any number of writers may add records meanwhile:
rows are of the files that were there when the listing was made, and of no other.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy
import pandas

from harness.errors import HarnessError, StoreError, UsageError, did_you_mean
from harness.results import parquet
from harness.results.assembly import COLUMNS, Assembly, concatenated
from harness.results.listing import Listing, listing_of, remember, remembered
from harness.results.observations import coordinates, observations
from harness.results.quarantine import Records
from harness.results.reading import stream
from harness.results.spreadsheet import for_spreadsheets
from harness.results.store import Store

FEWEST_KEPT = 0.5  # of the records: where more are new, all are read again


@dataclass(frozen=True)
class Compaction:
    """What ``compact`` left: its rows, how many records they are of, and every file it could not read with the reason.

    ``read``: how many records were read for it; none where the file was of now already.
    """

    path: Path
    rows: int
    records: int
    unreadable: list[str]
    read: int


def load(results: Path | str = Path("results"), suite: str | None = None) -> pandas.DataFrame:
    """Rows of one suite, or of every suite, below ``results``.

    ``frame.attrs["unreadable"]`` names each file that could not be read; ``UsageError`` where the suite has no folder.
    """
    store = Store(results)
    suites = store.suites()
    if suite is not None and suite not in suites:
        raise UsageError(f"no results for suite '{suite}' in {store.root}{did_you_mean(suite, suites)}; run it first")
    frames = [_load_suite(store, name) for name in ([suite] if suite is not None else suites)]
    if len(frames) == 1:
        return frames[0]
    whole = concatenated(frames) if frames else Assembly().frame()
    whole.attrs["unreadable"] = [line for frame in frames for line in frame.attrs["unreadable"]]
    return whole


def rows_of(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of one record; ``UsageError`` where it holds an undeclared metric."""
    fixed = coordinates(record)
    return [{name: {**fixed, **found._asdict()}[name] for name in COLUMNS} for found in observations(record)]


def frame_of(records: Iterable[Mapping[str, Any]]) -> pandas.DataFrame:
    """Rows of records that are known to be good, in the order given."""
    assembly = Assembly()
    for record in records:
        assembly.add(record)
    return assembly.frame()


def compact(results: Path | str, suite: str) -> Compaction:
    """Bring ``results/<suite>/rows.parquet`` up to the records: the same records give the same bytes.

    What was not compacted here is read in full; later only what is new since is, where that is less than half.
    """
    store = Store(results)
    listing, path = listing_of(store, suite), _path(store, suite)
    facts = _facts(path)
    if facts is not None and facts.digest == listing.digest and remembered(store, suite, listing.digest) is not None:
        return Compaction(path, facts.rows, len(listing.files) - len(facts.unreadable), facts.unreadable, 0)
    updated = _updated(store, suite, listing, path)
    frame, read = updated if updated is not None else (_from_records(store, suite, listing), len(listing.files))
    parquet.replace(path, parquet.to_bytes(frame, listing.digest), store.root)
    remember(store, suite, listing)
    unreadable = frame.attrs["unreadable"]
    return Compaction(path, len(frame), len(listing.files) - len(unreadable), unreadable, read)


def to_csv(frame: pandas.DataFrame, out: Path | TextIO) -> None:
    """Write rows as CSV; a missing value is an empty field, and text is none that a spreadsheet computes."""
    for_spreadsheets(frame).to_csv(out, index=False, lineterminator="\n")


def to_parquet(frame: pandas.DataFrame, out: Path) -> None:
    """Write rows as Parquet to ``out``."""
    parquet.replace(out, parquet.to_bytes(frame, ""))


def read_parquet(path: Path) -> pandas.DataFrame:
    """Read rows written by ``compact`` or ``to_parquet``; ``StoreError`` where the file is not one."""
    return parquet.read(path)[0]


def _facts(path: Path) -> parquet.Facts | None:
    """What the file says of itself; None where there is none, or a damaged one."""
    with contextlib.suppress(StoreError):
        return parquet.facts_of(path) if path.is_file() else None
    return None


def _path(store: Store, suite: str) -> Path:
    return store.root / suite / "rows.parquet"


def _load_suite(store: Store, suite: str) -> pandas.DataFrame:
    listing, path = listing_of(store, suite), _path(store, suite)
    if path.is_file() and parquet.facts_of(path).digest == listing.digest:
        frame, digest = parquet.read(path)
        if digest == listing.digest:  # nobody replaced it meanwhile
            return frame
    updated = _updated(store, suite, listing, path)
    return updated[0] if updated is not None else _from_records(store, suite, listing)


def _from_records(store: Store, suite: str, listing: Listing, names: list[str] | None = None) -> pandas.DataFrame:
    """Rows of the files of a listing, or of those of them that are named."""
    told, assembly = Records(), Assembly()
    unreadable: list[str] = []
    for record in stream(store, suite, told, listing.paths(names)):
        try:
            assembly.add(record)
        except (HarnessError, KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            unreadable.append(f"{record['suite']}/{record['record']}: {type(error).__name__}: {error}")
    frame = assembly.frame()
    files = [f"{path.relative_to(store.root)}: {why}" for path, why in told.quarantined]
    frame.attrs["unreadable"] = files + unreadable
    return frame


def _updated(store: Store, suite: str, listing: Listing, path: Path) -> tuple[pandas.DataFrame, int] | None:
    """The rows of a stale file brought up to the listing, and how many records were read; None where that is not known
    to give what reading all of them would.
    """
    facts = _facts(path)
    before = None if facts is None or facts.unreadable else remembered(store, suite, facts.digest)
    if before is None:
        return None
    new = [name for name, size in listing.files if before.get(name) != size]
    if len(new) > FEWEST_KEPT * len(listing.files):
        return None
    old = parquet.read(path)[0]
    starts = _starts(old, list(before))
    added = _from_records(store, suite, listing, new)
    if starts is None or added.attrs["unreadable"] or len(new) != len(first := _starts(added, new) or []):
        return None
    kept = [name for name, size in listing.files if before.get(name) == size]
    places = _extents(list(before), starts, len(old))
    if not _identities(old, [places[name].start for name in kept]).isdisjoint(_identities(added, first)):
        return None
    places = {name: places[name] for name in kept}
    places |= {name: _moved(place, len(old)) for name, place in _extents(new, first, len(added)).items()}
    order = [numpy.arange(places[name].start, places[name].stop) for name, _ in listing.files]
    frame = concatenated([old, added], numpy.concatenate(order) if order else numpy.empty(0, numpy.int64))
    frame.attrs["unreadable"] = []
    return frame, len(new)


def _extents(names: list[str], starts: list[int], rows: int) -> dict[str, range]:
    """The rows of each file."""
    return {name: range(begin, end) for name, begin, end in zip(names, starts, [*starts[1:], rows], strict=False)}


def _moved(place: range, by: int) -> range:
    return range(place.start + by, place.stop + by)


def _starts(frame: pandas.DataFrame, names: list[str]) -> list[int] | None:
    """Where the rows of each file begin; None where the frame is not of just these files, in this order."""
    begins = numpy.flatnonzero((frame["metric"] == "status").to_numpy())
    records = frame["record"].array.take(begins).astype(str)
    if [name.rpartition("/")[2].removesuffix(".json") for name in names] != list(records):
        return None
    return begins.tolist()  # type: ignore[no-any-return]


def _identities(frame: pandas.DataFrame, starts: list[int]) -> set[tuple[str, ...]]:
    """What tells a record from a copy of it."""
    columns = (frame[name].array.take(starts).astype(str) for name in ("record", "installation", "started"))
    return set(zip(*columns, strict=True))
