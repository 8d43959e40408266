"""Two selections of records as cells: what is compared with what, and which facts stand in the way.

A cell is one place of two sides, paired by every coordinate but those that are free. Only records on equal hard facts
stand beside each other where there are any; where there are none, the facts that differ are named.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from harness.analyse.case import COORDINATES, Case, Place, Status, series_id
from harness.analyse.watched import WATCHED
from harness.results.nights import entry_of
from harness.results.record import Record

# Hard facts that a coordinate determines, so that they differ where it does.
DETERMINED = {"data": ("data_fingerprint",)}
# What goes with a coordinate: of another method the last stage is another one, too.
_WITH = {"method": ("method", "stage")}
CELL = "status"  # the metric of a case about a whole cell


@dataclass(frozen=True)
class Cell:
    """One place with the records of both sides, in the order in which they began.

    ``hard`` names the hard facts that differ, ``changed`` whatever else does: libraries, the commit, a default.
    ``apart`` is the step's id where another cell has the same coordinates.
    """

    place: Place
    base: tuple[Record, ...]
    head: tuple[Record, ...]
    hard: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    apart: str = ""

    def done(self, side: str) -> list[Record]:
        """The records of ``base`` or ``head`` that measured something."""
        return [record for record in (self.base if side == "base" else self.head) if record["status"] == "done"]

    def metrics(self) -> list[str]:
        """The watched metrics that either side has a number for, in a fixed order."""
        sides = (*self.done("base"), *self.done("head"))
        return [name for name in WATCHED if any(value_of(record, name) is not None for record in sides)]

    def seeds(self, side: str) -> set[Any]:
        """The seeds with which ``base`` or ``head`` measured something; None of what does not depend on one."""
        return {record["coordinates"].get("seed") for record in self.done(side)}

    def share_references(self) -> bool:
        """Whether both sides were measured from the same references."""
        sides = [{record["job"].get("reference") for record in self.done(side)} for side in ("base", "head")]
        return sides[0] == sides[1]

    def of_seeds(self, seeds: Collection[Any]) -> Cell:
        """The same with the records of these seeds alone."""
        sides = [[one for one in side if one["coordinates"].get("seed") in seeds] for side in (self.base, self.head)]
        return replace(self, place=_place(*sides), base=tuple(sides[0]), head=tuple(sides[1]))

    def case(self, metric: str, status: Status, why: str, **numbers: Any) -> Case:
        """A case at this place; its id is that of the series over nights, as the base's nights know it."""
        known = series_id(self.place, metric, self.entry(), self.apart)
        suspects = () if status == "pass" else self.changed
        return Case(known, self.place, metric, status, why, **numbers, suspects=suspects)

    def entry(self) -> dict[str, Any]:
        """What a night would keep of the last record of the base, or of the head where the base has none."""
        return entry_of((self.done("base") or self.base or self.head)[-1])


def matched(base: Iterable[Record], head: Iterable[Record], free: Collection[str] = ()) -> list[Cell]:
    """The cells of either side, by every coordinate that is not ``free``; canaries belong to none.

    Where one side has several budgets at the same coordinates (two sweeps of one suite), the budget tells them apart.
    ``free`` may name what else differs on purpose (``commit``), which is then no news.
    """
    dropped = {each for name in free for each in _WITH.get(name, (name,))}
    groups: dict[tuple[Any, ...], tuple[list[Record], list[Record]]] = {}
    for number, side in enumerate((base, head)):
        for record in side:
            if record["operation"] != "canary":
                groups.setdefault(_key(record, dropped), ([], []))[number].append(record)
    return [_cell(*each, free, several=len(parts) > 1)
            for parts in (_by_budget(*group) for group in groups.values()) for each in parts]  # fmt: skip


def value_of(record: Mapping[str, Any], metric: str) -> float | None:
    """The single number that a record gives for a metric."""
    found = record["metrics"].get(metric)
    if found is None and metric == "wall_seconds":
        found = record["wall_seconds"]
    return None if found is None else float(found)


def gone(cell: Cell) -> tuple[Status, str] | None:
    """What became of a cell that the base has numbers for and the head has not; None where there is nothing to say."""
    if not cell.done("base") or cell.done("head"):
        return None
    if not cell.head:
        return "missing", "in the base, and not in the head"
    last = cell.head[-1]
    return ("missing" if last["status"] == "skipped" else "errored"), f"{last['status']}: {last['reason']}"


def on_shared_seeds(cell: Cell) -> tuple[Cell | None, list[Cell]]:
    """A cell with the seeds that both sides have done, and a cell for each that the head lacks.

    As it is where a side does not depend on seeds; None where no seed is shared.
    """
    base, head = cell.seeds("base"), cell.seeds("head")
    if None in base | head:
        return cell, []
    both = cell.of_seeds(base & head) if base & head else None
    return both, [cell.of_seeds({seed}) for seed in sorted(base - head)]


def in_words(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[str, ...]:
    """The entries that differ, as ``cores 2 -> 8``."""
    names = [name for name in dict.fromkeys((*before, *after)) if before.get(name) != after.get(name)]
    return tuple(f"{name.replace('_', ' ')} {_shown(before.get(name))} -> {_shown(after.get(name))}" for name in names)


def _key(record: Record, dropped: Collection[str]) -> tuple[Any, ...]:
    place = {"operation": record["operation"]} | record["coordinates"]
    return (record["suite"], *(None if name in dropped else place.get(name) for name in COORDINATES))


def _by_budget(base: list[Record], head: list[Record]) -> list[tuple[list[Record], list[Record]]]:
    budgets = [list(dict.fromkeys(map(_budget, side))) for side in (base, head)]
    if max(map(len, budgets)) < 2:
        return [(base, head)]
    return [
        ([one for one in base if _budget(one) == budget], [one for one in head if _budget(one) == budget])
        for budget in dict.fromkeys((*budgets[0], *budgets[1]))
    ]


def _budget(record: Record) -> str:
    return json.dumps(record["job"].get("budget"), sort_keys=True)


def _cell(base: list[Record], head: list[Record], free: Collection[str], *, several: bool) -> Cell:
    determined = {fact for name in free for fact in DETERMINED.get(name, ())}
    base, head = (sorted(side, key=lambda one: (one["started"], one["record"])) for side in (base, head))
    hard: tuple[str, ...] = ()
    known = [{_hard(one, determined) for one in side if one["status"] == "done"} for side in (base, head)]
    if all(known):
        shared = known[0] & known[1]
        if shared:
            base, head = ([one for one in side if _fits(one, shared, determined)] for side in (base, head))
        else:
            last = [json.loads(_hard([one for one in side if one["status"] == "done"][-1], determined))
                    for side in (base, head)]  # fmt: skip
            hard = in_words(last[0], last[1])
    changed = in_words(_soft(base[-1], free), _soft(head[-1], free)) if base and head else ()
    apart = (base or head)[-1]["step"] if several else ""
    return Cell(_place(base, head), tuple(base), tuple(head), hard, changed, apart)


def _fits(record: Record, shared: set[str], determined: Collection[str]) -> bool:
    return record["status"] != "done" or _hard(record, determined) in shared


def _hard(record: Record, determined: Collection[str]) -> str:
    facts = {name: value for name, value in record["environment"]["hard"].items() if name not in determined}
    return json.dumps(facts, sort_keys=True)


def _place(base: Sequence[Record], head: Sequence[Record]) -> Place:
    """The place of the head's last record, or of the base's; without a seed where several were taken together."""
    last = (head or base)[-1]
    seeds = {record["coordinates"].get("seed") for record in (*base, *head)}
    told = last["coordinates"] | ({"seed": None} if len(seeds) > 1 else {})
    return Place.of(last["suite"], last["step"], last["operation"], told)


def _soft(record: Record, free: Collection[str]) -> dict[str, Any]:
    """What may change without making numbers incomparable, flat."""
    environment, job = record["environment"], record["job"]
    commit = record["commit"]
    facts: dict[str, Any] = {}
    if "commit" not in free:
        facts["commit"] = f"{str(commit.get('sha'))[:12]}{' with changes' if commit.get('dirty') else ''}"
    soft = dict(environment.get("soft") or {})
    facts |= soft.pop("libraries", {})
    facts |= soft
    if "method" not in free:
        for part in ("adapter", "task"):
            facts |= ((job.get(part) or {}).get("params")) or {}
        facts |= job.get("budget") or {}
    return facts


def _shown(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:12]}..."
