"""The cells of a suite: every point of its sweeps once, in the order of the file, without those that it excludes."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from harness.contract import Hardware
from harness.errors import SuiteError, UsageError
from harness.plan.methods import ResolvedMethod, canonical_json, check_points
from harness.plan.sources import DataSource, ModelSource, hardware_text
from harness.plan.suite import AXES, Rule, Suite, Sweep

MOST_CELLS = 1_000_000


@dataclass(frozen=True, slots=True)
class Cell:
    """One point of a sweep. ``seed`` is None where nothing is trained, so that seeds do not repeat the same thing."""

    method: str
    model: str
    data: str
    precision: str
    hardware: str
    seed: int | None

    @property
    def id(self) -> str:
        """Short hash of the coordinates; rows carry it."""
        return cell_id(self.method, self.model, self.data, self.precision, self.hardware, self.seed)


def cell_id(method: str, model: str, data: str, precision: str, hardware: str, seed: int | None) -> str:
    """Return the first 12 hex digits of the SHA-256 of a cell's coordinates; the same in plans and rows."""
    text = canonical_json([method, model, data, precision, hardware, seed])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class Point:
    """A cell with what its words mean, and the sweeps that ask for it."""

    cell: Cell
    method: ResolvedMethod
    model: ModelSource
    data: DataSource
    precision: str
    hardware: Hardware
    sweeps: tuple[Sweep, ...]


def expand(suite: Suite) -> list[Point]:
    """Return every cell of the suite once; ``SuiteError`` where none is left or two sweeps contradict each other."""
    found: dict[Cell, Point] = {}
    for sweep in suite.sweeps:
        _check_size(suite, sweep)
        for cell, values in _cells(suite, sweep):
            method, model, data, precision, hardware = values
            earlier = found.get(cell)
            if earlier is None:
                found[cell] = Point(cell, method, model, data, precision, hardware, (sweep,))
            elif sweep not in earlier.sweeps:
                found[cell] = _joined(suite, earlier, sweep)
    if not found:
        raise SuiteError("nothing is left to measure: every cell is excluded", file=suite.file)
    return list(found.values())


def _check_size(suite: Suite, sweep: Sweep) -> None:
    try:
        check_points(list(sweep.axes.values()), MOST_CELLS)
    except UsageError as error:
        raise SuiteError(str(error), file=suite.file) from None


def _cells(suite: Suite, sweep: Sweep) -> Iterator[tuple[Cell, tuple[Any, ...]]]:
    names = list(sweep.axes)
    at = {name: names.index(name) for name in AXES}
    order = [at[name] for name in AXES]
    excluded = [_matcher(rule, sweep) for rule in sweep.exclude]
    for point in itertools.product(*sweep.axes.values()):
        method, model, data, precision, hardware, seed = (point[index] for index in order)
        seed = seed if method.learns else None
        values = (method, model, data, precision, hardware)
        if excluded and any(match(*values, seed) for match in excluded):
            continue
        method, precision = _at_precision(suite, method, precision)
        values = (method, model, data, precision, hardware)
        yield Cell(method.text, model.word, data.word, precision, _hardware_text(hardware), seed), values


def _at_precision(suite: Suite, method: ResolvedMethod, precision: str) -> tuple[ResolvedMethod, str]:
    try:
        return suite.resolver.at_precision(method, precision)
    except UsageError as error:
        raise SuiteError(str(error), file=suite.file) from None


def _matcher(rule: Rule, sweep: Sweep) -> Callable[..., bool]:
    named = [(AXES.index(name), allowed) for name, allowed in rule.allowed.items()]
    users = {method for method in sweep.axes["method"] if rule.uses <= method.names()} if rule.uses else None

    def match(*values: Any) -> bool:
        if users is not None and values[0] not in users:
            return False
        return all(values[index] in allowed for index, allowed in named)

    return match


def _joined(suite: Suite, point: Point, sweep: Sweep) -> Point:
    """One cell asked for by two sweeps is measured once with the tasks of both; two budgets would be two cells."""
    first, method = point.sweeps[0], point.method
    if method.learns and (first.budget, first.share(method)) != (sweep.budget, sweep.share(method)):
        raise SuiteError(
            f"two sweeps give '{method.text}' different budgets under the same coordinates; "
            "say steps or tokens in the method, e.g. lora(steps=60)",
            file=suite.file,
        )
    return Point(
        point.cell, method, point.model, point.data, point.precision, point.hardware, (*point.sweeps, sweep)
    )


@cache
def _hardware_text(hardware: Hardware) -> str:
    return hardware_text(hardware)
