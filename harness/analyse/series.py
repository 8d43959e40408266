"""Nights as series: one per cell, metric and hard facts, and what moved with the machine instead of the code.

Pure functions over nights (``harness.results.nights``), which are in order of time.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy

from harness.analyse.case import Place, series_id
from harness.analyse.changes import FEWEST, MAD, changes
from harness.analyse.watched import FROM_REFERENCE, WATCHED, Watched
from harness.metrics import METRICS
from harness.results.nights import Night
from harness.results.record import disturbed

CANARIES = tuple(name for name in METRICS if name.startswith("canary_"))
MOVED_SHARE = 0.10  # a canary that far from its usual time has moved, if it is also far for this machine
MOVED_DEVIATIONS = 5.0
REMEMBERED = 30
OF_A_MACHINE = ("cpu_model", "cores", "memory_gib")


@dataclass(frozen=True)
class Point:
    """A value at a night (its index among all nights); ``disturbed``: something else used the machine beside it."""

    night: int
    value: float
    step: str
    disturbed: bool = False


@dataclass(frozen=True)
class Series:
    """One number over the nights. ``machine`` is what the hard facts say of the machine itself."""

    id: str
    place: Place
    watched: Watched
    hard: str
    machine: tuple[Any, ...]
    points: tuple[Point, ...]

    @property
    def values(self) -> list[float]:
        """Its values in order."""
        return [point.value for point in self.points]


@dataclass(frozen=True)
class Shift:
    """A canary that stays where it moved; ``slower`` is the logarithm of its time after over its time before."""

    canary: str
    slower: float


@dataclass(frozen=True)
class Movement:
    """What the canaries say of one set of hard facts.

    ``nights`` are those at which the machine was not itself; ``shifts`` those from which on it is another one.
    """

    nights: frozenset[int] = frozenset()
    shifts: Mapping[int, Shift] = field(default_factory=dict)


def series_of(nights: Sequence[Night]) -> list[Series]:
    """Every watched number of done steps, in the order in which it was first seen.

    A step that is defined anew (other budget, other revision of its technique) begins a new series under the old name:
    only the points since then are kept.
    """
    points: dict[str, list[Point]] = {}
    about: dict[str, tuple[Place, Watched, str, tuple[Any, ...]]] = {}
    for number, night in enumerate(nights):
        watching, twins = Watching.of(night.steps), _twins(night)
        for entry in night.steps:
            if entry["status"] != "done" or entry["operation"] == "canary" or not entry["hard"]:
                continue
            place = Place.of(night.suite, entry["step"], entry["operation"], entry["coordinates"])
            facts = night.machines.get(entry["hard"], {})
            for name, value in entry["values"].items():
                if not numpy.isfinite(value) or not watching.has(entry, name):
                    continue
                known = series_id(place, name, entry, entry["step"] if place_key(entry) in twins else "")
                points.setdefault(known, []).append(Point(number, float(value), entry["step"], disturbed(entry)))
                about[known] = (place, WATCHED[name], entry["hard"], machine_of(facts))
    return [Series(known, *about[known], _since_defined(found)) for known, found in points.items()]


@dataclass(frozen=True)
class Watching:
    """Which numbers of steps (entries of one night, or of a gate) are series: ``made`` are the exact facts that the
    making of a method tells, by method and metric, which its evaluations repeat; ``trained`` the methods that end in
    training: what they moved away from is where they began, and no damage.
    """

    made: frozenset[tuple[str, str]]
    trained: frozenset[str]

    @classmethod
    def of(cls, entries: Sequence[Mapping[str, Any]]) -> Watching:
        """What these steps tell of each other."""
        made = (entry for entry in entries if entry["operation"] in ("train", "compress") and entry["status"] == "done")
        exact = ((_method(entry), name) for entry in made for name in entry["values"]
                 if name in WATCHED and WATCHED[name].kind == "exact")  # fmt: skip
        return cls(frozenset(exact), frozenset(_method(each) for each in entries if each["operation"] == "train"))

    def has(self, entry: Mapping[str, Any], name: str) -> bool:
        """Whether a number of a step is a series."""
        if name not in WATCHED or (name in FROM_REFERENCE and _method(entry) in self.trained):
            return False
        return entry["operation"] != "eval" or (_method(entry), name) not in self.made


def _method(entry: Mapping[str, Any]) -> str:
    return str(entry["coordinates"].get("method"))


def place_key(entry: Mapping[str, Any]) -> str:
    """The coordinates of a night's entry as one text."""
    return json.dumps([entry["operation"], entry["hard"], entry["coordinates"]], sort_keys=True)


def _twins(night: Night) -> set[str]:
    """Coordinates that several steps of a night share, as two sweeps that differ in their budget do."""
    steps: dict[str, set[str]] = {}
    for entry in night.steps:
        if entry["operation"] != "canary":
            steps.setdefault(place_key(entry), set()).add(entry["step"])
    return {key for key, found in steps.items() if len(found) > 1}


def machine_of(facts: Mapping[str, Any]) -> tuple[Any, ...]:
    """What the hard facts say of the machine itself, whatever a step used of it."""
    return tuple(facts.get(name) for name in OF_A_MACHINE)


def _since_defined(points: list[Point]) -> tuple[Point, ...]:
    last = points[-1].step
    first = next((place for place in range(len(points), 0, -1) if points[place - 1].step != last), 0)
    return tuple(points[first:])


def movements(nights: Sequence[Night]) -> dict[str, Movement]:
    """By hard facts' id: where the canaries of the sweeps moved.

    A night has moved where one of its canaries is further than ``MOVED_SHARE`` and ``MOVED_DEVIATIONS`` robust standard
    deviations from the median of the nights before. A canary that stays where it moved has shifted for good.
    """
    found: dict[str, Movement] = {}
    by_hard: dict[str, dict[str, list[tuple[int, float]]]] = {}
    for number, night in enumerate(nights):
        for hard, metrics in _canaries(night).items():
            for name, value in metrics.items():
                by_hard.setdefault(hard, {}).setdefault(name, []).append((number, value))
    for hard, lines in by_hard.items():
        moved: set[int] = set()
        shifts: dict[int, Shift] = {}
        for name, line in lines.items():
            found_here = changes([value for _, value in line], _far)
            told = {line[one.at][0]: Shift(name, math.log(one.after / one.before)) for one in found_here}
            for at, one in told.items():
                shifts[at] = max(one, shifts.get(at, one), key=lambda shift: abs(shift.slower))
            moved |= _moved(line, told)
        found[hard] = Movement(frozenset(moved), shifts)
    return found


def _canaries(night: Night) -> dict[str, dict[str, float]]:
    """The faster of the sweep's canaries by hard facts' id and metric: one disturbed moment is no other machine."""
    found: dict[str, dict[str, list[float]]] = {}
    for entry in night.steps:
        if entry["operation"] == "canary" and entry["status"] == "done" and entry["hard"]:
            for name in CANARIES:
                if name in entry["values"]:
                    found.setdefault(entry["hard"], {}).setdefault(name, []).append(float(entry["values"][name]))
    return {
        hard: {name: min(values) for name, values in metrics.items()} for hard, metrics in found.items()
    }


def _far(before: float, after: float) -> bool:
    return before > 0 and abs(after / before - 1) > MOVED_SHARE


def _moved(line: Sequence[tuple[int, float]], starts: Iterable[int]) -> set[int]:
    """Nights whose value is far from those before it since the last shift."""
    found: set[int] = set()
    usual: list[float] = []
    for night, value in line:
        if night in starts:
            usual = []
        if len(usual) >= FEWEST:
            middle = float(numpy.median(usual[-REMEMBERED:]))
            spread = MAD * float(numpy.median(numpy.abs(numpy.asarray(usual[-REMEMBERED:]) - middle)))
            if _far(middle, value) and abs(value - middle) > MOVED_DEVIATIONS * spread:
                found.add(night)
                continue
        usual.append(value)
    return found
