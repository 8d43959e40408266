"""One number that was watched or compared, judged: what history, gate and compare give and every output shows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Status = Literal[
    "pass", "regression", "improvement", "accepted", "machine moved", "insufficient", "errored", "missing", "refused"
]
# Worst first: the order in which every output names them.
ORDER: tuple[Status, ...] = (
    "regression", "errored", "missing", "refused", "insufficient", "machine moved", "accepted", "improvement", "pass"
)  # fmt: skip
ACCEPTABLE: tuple[Status, ...] = ("regression", "missing")  # what `harness accept` takes
COORDINATES = ("operation", "method", "stage", "task", "model", "data", "precision", "hardware", "seed")


@dataclass(frozen=True)
class Place:
    """Where a number was measured: a suite and the coordinates of a step; None where the step does not depend on one.

    ``step`` is the step's id, which is another one when what is measured is defined anew.
    """

    suite: str
    step: str
    operation: str
    method: str | None
    stage: str | None
    task: str | None
    model: str | None
    data: str | None
    precision: str | None
    hardware: str | None
    seed: int | None

    @classmethod
    def of(cls, suite: str, step: str, operation: str, coordinates: Mapping[str, Any]) -> Place:
        """The place of a record or of an entry of a night."""
        return cls(suite, step, operation, **{name: coordinates.get(name) for name in COORDINATES[1:]})

    def in_words(self) -> str:
        """``train lora(rank=8) @ embedded, fp32, seed 0``."""
        return self._at([text for text in (self.model, self.precision) if text])

    def series(self, metric: str) -> str:
        """The one spelling of a series: ``train lora @ embedded, source, fp32, cpu, seed 0: wall_seconds``."""
        return f"{self.exactly()}: {metric}"

    def exactly(self) -> str:
        """The words with the data and the hardware too: no two places of a suite have the same."""
        return self._at([text for text in (self.model, self.data, self.precision, self.hardware) if text])

    def _at(self, where: Sequence[str]) -> str:
        seed = [] if self.seed is None else [f"seed {self.seed}"]
        return f"{self.task or self.operation} {self.method or ''} @ {', '.join([*where, *seed])}".strip(" @")


@dataclass(frozen=True)
class Case:
    """A judged number. ``before`` and ``after`` are levels in the metric's unit, ``change`` is after / before - 1.

    ``low`` and ``high`` bound ``change``; ``smallest`` is the smallest detectable change as a share
    (``harness.analyse.significance.detectable``); ``since`` is the night or run from which it is so; ``suspects`` are
    facts that changed at the same time.
    """

    id: str
    place: Place
    metric: str
    status: Status
    why: str
    before: float | None = None
    after: float | None = None
    change: float | None = None
    low: float | None = None
    high: float | None = None
    smallest: float | None = None
    since: str | None = None
    suspects: tuple[str, ...] = field(default=())

    @property
    def series(self) -> str:
        """The name of its series, as every output spells it."""
        return self.place.series(self.metric)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self) | {"place": asdict(self.place), "series": self.series, "suspects": list(self.suspects)}

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> Case:
        """A case from its plain JSON."""
        rest = {name: value for name, value in told.items() if name not in ("place", "series", "suspects")}
        return cls(**rest, place=Place(**told["place"]), suspects=tuple(told["suspects"]))


def case_id(place: Place, metric: str, hard: str = "") -> str:
    """12 hex digits by which a series is known: everything but the step's definition, and the hard facts' id."""
    told = [place.suite, *(getattr(place, name) for name in COORDINATES), metric, hard]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:12]


def series_id(place: Place, metric: str, entry: Mapping[str, Any], apart: str = "") -> str:
    """The id of a series over nights and in a gate, from an entry of a night (``harness.results.nights.entry_of``).

    Hard are the facts known when planning and the hashes that the step determined; ``apart`` tells steps at the same
    coordinates apart.
    """
    told = json.dumps([entry["hard"], dict(entry["determined"]), apart], sort_keys=True)
    return case_id(place, metric, hashlib.sha256(told.encode()).hexdigest()[:12])


def worst_first(cases: Iterable[Case]) -> list[Case]:
    """Cases by status, worst first, then by the size of their change."""
    return sorted(cases, key=lambda one: (ORDER.index(one.status), -abs(one.change or 0.0), one.series))


def exit_code(cases: Sequence[Case], *, strict: bool = False) -> int:
    """0 clean, 1 a regression, 3 errors or missing or refused cells, 4 (``strict``) too little to tell."""
    found = {one.status for one in cases}
    if "regression" in found:
        return 1
    if found & {"errored", "missing", "refused"}:
        return 3
    return 4 if strict and "insufficient" in found else 0
