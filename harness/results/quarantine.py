"""Reading record files one by one: what is a record of its place, and what is left out, counted and named.

Standard library alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from harness.errors import StoreError
from harness.results.record import NewerFormat, Record, read

Seen = dict[tuple[str, str, str], Path]


@dataclass
class Records:
    """What was read from a results folder; ``quarantined`` names every file that could not be, and why.

    ``newer``: those of them that a newer harness wrote.
    """

    records: list[Record] = field(default_factory=list)
    quarantined: list[tuple[Path, str]] = field(default_factory=list)
    newer: list[Path] = field(default_factory=list)


def read_into(found: Records, path: Path, seen: Seen) -> None:
    """Add a file's record to what was found, or the file to what is quarantined; ``seen`` knows those before it."""
    try:
        record = read(path)
    except StoreError as error:
        found.quarantined.append((path, str(error).replace(str(path), path.name)))
        if isinstance(error, NewerFormat):
            found.newer.append(path)
        return
    reason = _out_of_place(record, path, seen)
    if reason is None:
        found.records.append(record)
    else:
        found.quarantined.append((path, f"record {path.name} {reason}"))


def _out_of_place(record: Record, path: Path, seen: Seen) -> str | None:
    """Why a readable record does not count: it is of another suite, or there is the same one already."""
    if record["suite"] != path.parent.parent.name:
        return f"is one of suite {record['suite']}; move it there or delete it"
    first = seen.setdefault((record["record"], str(record["environment"].get("installation")), record["started"]), path)
    return None if first is path else f"is a copy of {first.parent.name}/{first.name}; delete one of them"
