"""``harness clean``: what a results folder holds, what would go under limits, and taking it away."""

from __future__ import annotations

import contextlib
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.cli.choosing import seconds_of
from harness.cli.terminal import print, print_json
from harness.errors import StoreError, UsageError, did_you_mean
from harness.memory.units import bytes_of, in_words
from harness.results.store import Store

if TYPE_CHECKING:
    from harness.results.clean import Cleaning, Limits
    from harness.results.inventory import Item

LISTED = 10


@dataclass(frozen=True)
class Asked:
    """What the command line asked for, as it was written."""

    suite: str | None
    attempts: int | None
    older: str | None
    size: str | None
    cached: bool


def clean(asked: Asked, results: Path, reports: Sequence[Path], *, really: bool, as_json: bool) -> int:
    """Say what would go, or take it away; 1 where the size that was asked for cannot be reached."""
    from harness.results.clean import take

    limits = limits_of(asked)
    if not results.is_dir():
        raise UsageError(f"results folder {results} does not exist")
    store = Store(results)
    if asked.suite is not None and asked.suite not in store.suites():
        near = did_you_mean(asked.suite, store.suites())
        raise UsageError(f"no results for suite '{asked.suite}' in {results}{near}")
    with _held(store) if really else contextlib.nullcontext():
        found, items = _chosen(store, limits, reports)
        if really:
            take(store, found)
    if as_json:
        print_json(as_document(found, items, store.root, really=really))
    else:
        _show(found, items, limits, store.root, really=really)
    return int(found.over > 0)


def limits_of(asked: Asked) -> Limits:
    """The limits as numbers; ``UsageError`` names what is none."""
    from harness.results.clean import Limits

    return Limits(
        attempts=asked.attempts,
        seconds=None if asked.older is None else seconds_of(asked.older),
        size=None if asked.size is None else bytes_of(asked.size),
        suite=asked.suite,
        cached=asked.cached,
    )


def as_document(found: Cleaning, items: Sequence[Item], root: Path, *, really: bool) -> dict[str, Any]:
    """The answer as JSON; paths are relative to the results folder."""
    kept = Counter[tuple[str, str]]()
    sizes = Counter[tuple[str, str]]()
    for item, why in found.kept.items():
        kept[item.kind, why] += 1
        sizes[item.kind, why] += item.size
    return {
        "results": str(root), "bytes": found.held, "removed": really, "freed_bytes": found.freed,
        "over_bytes": found.over,
        "holds": {kind: {"count": count, "bytes": size} for kind, (count, size) in _kinds(items).items()},
        "goes": [
            {
                "kind": item.kind, "paths": [str(path.relative_to(root)) for path in item.paths], "bytes": item.size,
                "why": why,
            }
            for item, why in found.going.items()
        ],
        "stays": [
            {"kind": kind, "why": why, "count": count, "bytes": sizes[kind, why]}
            for (kind, why), count in sorted(kept.items())
        ],
    }  # fmt: skip


@contextlib.contextmanager
def _held(store: Store) -> Iterator[None]:
    """The folder for this process alone; ``StoreError`` where a run of this or another machine uses it."""
    from harness.run.claims import held

    with store.lock(alone=True):
        if steps := held(store.cache / "claims"):
            raise StoreError(
                f"a run on another machine is using results folder {store.root} (step {steps[0]}); wait for it"
            )
        yield


def _chosen(store: Store, limits: Limits, reports: Sequence[Path]) -> tuple[Cleaning, list[Item]]:
    from harness.results.clean import choose
    from harness.results.inventory import stock
    from harness.results.keep import reasons
    from harness.results.made import size_of

    items = stock(store)
    return choose(items, reasons(store, items, reports), limits, size_of(store.root), time.time()), items


def _kinds(items: Sequence[Item]) -> dict[str, tuple[int, int]]:
    counts, sizes = Counter[str](), Counter[str]()
    for item in items:
        counts[item.kind] += 1
        sizes[item.kind] += item.size
    return {kind: (counts[kind], sizes[kind]) for kind in sorted(counts)}


def _show(found: Cleaning, items: Sequence[Item], limits: Limits, root: Path, *, really: bool) -> None:
    print(f"{root}: {in_words(found.held)}")
    for kind, (count, size) in _kinds(items).items():
        print(f"  {_many(count, kind):<20} {in_words(size):>9}")
    if found.kept and limits.any:
        print("stays:" if really else "would stay:")
        for line in _grouped(found.kept):
            print(f"  {line}")
    if found.going:
        print("removed:" if really else "would go:")
        for line in _grouped(found.going):
            print(f"  {line}")
    _conclude(found, limits, really=really)


def _conclude(found: Cleaning, limits: Limits, *, really: bool) -> None:
    left = in_words(found.held - found.freed)
    if not limits.any and not found.going:
        print("nothing is to be removed; say how much may stay: --keep-attempts, --older-than, --max-size")
    elif really:
        print(f"{in_words(found.freed)} removed, {left} stay")
    elif found.going:
        print(f"{in_words(found.freed)} would go and {left} stay")
        print("nothing was removed: the same command with --yes does it")
    else:
        print("nothing goes under these limits")
    if found.over:
        print(
            f"harness: {left} stay, {in_words(found.over)} more than --max-size: what may not go is listed above",
            file=sys.stderr,
        )


def _grouped(things: Mapping[Item, str]) -> list[str]:
    """A line for each kind and reason, the most bytes first."""
    found: dict[tuple[str, str], list[Item]] = {}
    for item, why in things.items():
        found.setdefault((item.kind, why), []).append(item)
    ordered = sorted(found.items(), key=lambda pair: (-sum(item.size for item in pair[1]), pair[0]))
    lines = [
        f"{_many(len(same), kind):<20} {in_words(sum(item.size for item in same)):>9}  {why}"
        for (kind, why), same in ordered
    ]
    more = [f"and {len(lines) - LISTED} more reasons; --json has all"] if len(lines) > LISTED else []
    return [*lines[:LISTED], *more]


def _many(count: int, kind: str) -> str:
    return f"{count} {kind}{'' if count == 1 else 's'}"
