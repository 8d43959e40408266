"""Which records somebody means: a results folder, or ``key=value`` over what records say of themselves.

``commit=1a2b3c; method=lora(rank=8)`` or ``results=elsewhere; library.torch=2.13.0``: all conditions hold together.
Standard library alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import UsageError, did_you_mean
from harness.results.record import Record
from harness.results.store import Store

AXES = ("method", "precision", "model", "data", "hardware", "seed")
OWN = ("commit", "installation", "environment", "results", *AXES)
SOFT = ("python", "kernel", "system", "machine", "libc", "governor", "gpu_driver")
LIBRARY = "library."
HASHES = ("commit", "installation", "environment")
SHORTEST_HASH = 4
SHOWN = 6


@dataclass(frozen=True)
class Selection:
    """One side as it was written, the folder that it reads, and its other conditions in order."""

    text: str
    folder: Path
    wanted: tuple[tuple[str, str], ...]

    def of(self, key: str) -> str | None:
        """The value asked for under a key."""
        return dict(self.wanted).get(key)


def parse(text: str, results: Path) -> Selection:
    """Read a selection; ``UsageError`` names a key that there is not, and one that is given twice."""
    if Path(text).is_dir():
        return Selection(text, Path(text), ())
    conditions: dict[str, str] = {}
    for part in filter(None, (each.strip() for each in text.split(";"))):
        key, sign, value = (each.strip() for each in part.partition("="))
        if not sign:
            raise UsageError(f"'{part}' is neither a results folder nor key=value; keys: {', '.join((*OWN, *SOFT))}")
        known = (*OWN, *SOFT)
        if key not in known and not key.startswith(LIBRARY):
            raise UsageError(f"unknown key '{key}' in '{text}'{did_you_mean(key, known)}; known: {', '.join(known)}, "
                             f"{LIBRARY}NAME")  # fmt: skip
        if key in conditions or not value:
            raise UsageError(f"'{key}' is {'given twice' if value else 'given no value'} in '{text}'")
        conditions[key] = value
    if not conditions:
        raise UsageError("an empty selection: give a results folder, or conditions such as commit=1a2b3c")
    folder = Path(conditions.pop("results", results))
    if not folder.is_dir():
        raise UsageError(f"results folder {folder} does not exist")
    return Selection(text, folder, tuple(conditions.items()))


def compared(base: Selection, head: Selection) -> frozenset[str]:
    """What the two sides differ in on purpose; ``UsageError`` where a coordinate is given on one side alone."""
    for key in AXES:
        if (base.of(key) is None) != (head.of(key) is None):
            raise UsageError(f"'{key}' is given on one side alone: give it on both, or on neither")
    keys = {key for key, _ in (*base.wanted, *head.wanted)}
    return frozenset(key for key in keys if base.of(key) != head.of(key))


def load(folder: Path, suite: str | None = None) -> tuple[list[Record], list[str]]:
    """Every record of one suite, or of all, and a line for each file that could not be read.

    ``UsageError`` where there is none; ``StoreError`` where a newer harness wrote one.
    """
    store = Store(folder)
    suites = store.suites()
    if suite is not None and suite not in suites:
        raise UsageError(f"no results for suite '{suite}' in {folder}{did_you_mean(suite, suites)}")
    records: list[Record] = []
    unreadable: list[str] = []
    for name in suites if suite is None else [suite]:
        found = store.records(name)
        records += found.records
        unreadable += [f"{path.relative_to(folder)}: {reason}" for path, reason in found.quarantined]
    if not records:
        raise UsageError(f"no records in {folder}; run a suite first")
    return records, unreadable


def select(records: Sequence[Record], wanted: Selection) -> list[Record]:
    """The records that meet every condition, canaries left out.

    ``UsageError`` where a value occurs nowhere, begins several hashes, or all conditions together leave nothing.
    """
    found = [record for record in records if record["operation"] != "canary"]
    for key, value in wanted.wanted:
        tell = _teller(key)
        there = sorted({tell(record) for record in found} - {""})
        meant = _meant(key, value, there, wanted)
        found = [record for record in found if tell(record) == meant]
    if not found:
        raise UsageError(f"no records in {wanted.folder} but canaries")
    return found


def with_machine(records: Iterable[Record], side: str) -> tuple[list[Record], int]:
    """The records that say on which machine they were measured, and how many do not; ``UsageError`` where none does."""
    every = list(records)
    kept = [record for record in every if record["environment"].get("hard") or record["status"] != "done"]
    done = [record for record in kept if record["status"] == "done"]
    if len(kept) < len(every) and not done:
        raise UsageError(
            f"{side}: {len(every) - len(kept)} records say nothing of their machine (no hard facts), so that nothing "
            "can be compared with them; measure again"
        )
    return kept, len(every) - len(kept)


def _meant(key: str, value: str, there: Sequence[str], wanted: Selection) -> str:
    """The value among those that occur; of a hash, the one that begins so."""
    if value in there:
        return value
    begun = [each for each in there if _begins(key, value, each)]
    if len(begun) == 1:
        return begun[0]
    if begun:
        raise UsageError(f"{key}={value} begins {', '.join(_short(each) for each in begun)}; write more of it")
    before = wanted.wanted[: [each for each, _ in wanted.wanted].index(key)]
    where = "".join(f" with {name}={given}" for name, given in before)
    likely = sorted(there, key=lambda each: value not in each)
    shown = f"; there is {', '.join(map(_short, likely[:SHOWN]))}{' ...' if len(there) > SHOWN else ''}"
    hint = did_you_mean(value, there)
    raise UsageError(f"no record in {wanted.folder}{where} has {key}={value}{hint or (shown if there else '')}")


def _begins(key: str, value: str, whole: str) -> bool:
    """Whether a value may stand for a longer one: the beginning of a hash, a version without the build behind its +."""
    if key in HASHES:
        return len(value) >= SHORTEST_HASH and whole.startswith(value)
    return key.startswith(LIBRARY) and whole.partition("+")[0] == value


def _teller(key: str) -> Callable[[Mapping[str, Any]], str]:
    """How a record's value under a key is found; an empty text where it has none."""

    def tell(record: Mapping[str, Any]) -> str:
        environment = record["environment"]
        soft = environment.get("soft") or {}
        if key.startswith(LIBRARY):
            return str((soft.get("libraries") or {}).get(key.removeprefix(LIBRARY)) or "")
        value = {
            "commit": record["commit"].get("sha"), "installation": environment.get("installation"),
            "environment": environment.get("hard_id"),
        }.get(key, record["coordinates"].get(key) if key in AXES else soft.get(key))  # fmt: skip
        return "" if value is None else str(value)

    return tell


def _short(value: str) -> str:
    return value if len(value) <= 40 else f"{value[:12]}..."


def shared(base: Iterable[Record], head: Iterable[Record]) -> int:
    """How many records are on both sides."""
    return len(_names(base) & _names(head))


def _names(records: Iterable[Record]) -> set[tuple[Any, ...]]:
    return {(one["suite"], one["environment"].get("installation"), one["record"], one["started"]) for one in records}
