"""Which records of a suite are exported, and the names under which trackers of benchmarks know their numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.analyse.case import COORDINATES, Place, series_id
from harness.errors import UsageError
from harness.report.ci.told import one_line
from harness.results.nights import entry_of
from harness.results.record import Record

LONGEST_NAME = 500
_PARAMETERS = ("method", "model", "data", "precision", "hardware", "seed")


@dataclass(frozen=True)
class Measured:
    """A record that is exported. ``short`` says what was measured and where, the same every time; ``apart`` is the
    step's id where another record has the same coordinates.
    """

    record: Record
    short: str
    apart: str = ""

    def name(self, metric: str) -> str:
        """``nightly: train lora @ embedded, source, fp32, cpu: wall_seconds``: the series as verdicts spell it.

        No two numbers of an export have one name.
        """
        return f"{one_line(self.record['suite'], 100)}: {self.short}: {metric}"

    def series(self, metric: str) -> str:
        """The id of the series in ``harness history`` and ``harness gate``."""
        return series_id(_place(self.record), metric, entry_of(self.record), self.apart)


def measured(
    suite: str, records: Iterable[Record], plans: Mapping[str, Mapping[str, Any]], installation: str | None = None,
    own: str | None = None,
) -> list[Measured]:  # fmt: skip
    """The latest ``done`` record of each step by one installation, canaries left out, in the order of their names.

    ``plans``: the latest plan by installation; where the one chosen has one, only steps of that count. Chosen is
    ``installation``, else ``own`` where it has any record, else that of the latest record. ``UsageError`` where
    nothing is done, or nothing by the one asked for.
    """
    found = sorted(
        (one for one in records if one["status"] == "done" and one["operation"] != "canary"),
        key=lambda one: (one["started"], one["record"]),
    )
    owners = [str(one["environment"].get("installation")) for one in found]
    if not found:
        raise UsageError(f"no measurement of suite {suite} is finished; go on with it: harness run {suite}")
    if installation not in (None, *owners):
        known = ", ".join(sorted(set(owners)))
        raise UsageError(f"installation {installation} has finished nothing of suite {suite}; known: {known}")
    chosen = installation or (own if own in owners else owners[-1])
    latest = {one["step"]: one for one, owner in zip(found, owners, strict=True) if owner == chosen}
    planned = {str(step.get("id")) for step in plans.get(str(chosen), {}).get("steps") or []}
    if planned and not planned & set(latest):
        raise UsageError(f"nothing of the latest plan of suite {suite} is finished by {chosen}: harness run {suite}")
    return _named([one for step, one in latest.items() if not planned or step in planned])


def _named(records: Sequence[Record]) -> list[Measured]:
    """Records in the order of their names; where the coordinates do not tell two steps apart, the step's id does."""
    names = {one["record"]: one_line(_place(one).exactly(), LONGEST_NAME) for one in records}
    several = Counter((one["operation"], names[one["record"]]) for one in records)
    made = []
    for one in records:
        name = names[one["record"]]
        alone = several[(one["operation"], name)] == 1
        made.append(Measured(one, name) if alone else Measured(one, f"{name}#{one['step'][:8]}", one["step"]))
    return sorted(made, key=lambda each: (each.record["operation"], each.short))


def parameters(record: Record) -> str:
    """The coordinates of a record's cell that it depends on, joined as pytest joins parameters."""
    found = (record["coordinates"].get(name) for name in _PARAMETERS)
    return one_line("-".join(str(value) for value in found if value is not None), LONGEST_NAME)


def coordinates(record: Record) -> dict[str, Any]:
    """The coordinates of a record by name; None where it does not depend on one."""
    told = {"operation": record["operation"], **record["coordinates"]}
    return {name: told.get(name) for name in COORDINATES}


def _place(record: Record) -> Place:
    return Place.of(record["suite"], record["step"], record["operation"], record["coordinates"])
