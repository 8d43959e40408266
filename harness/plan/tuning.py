"""Tuning: with which value of a parameter a technique is measured, by trials on the validation split.

Every technique that a sweep tunes gets equally many trials. A trial trains a method up to the tuned stage at one value,
with a seed that no cell has; the loss at the end of its curve decides. A plan whose trials are not all finished knows
no more than these; the next one has the cells.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from harness.contract import defaults
from harness.plan.cells import Point
from harness.plan.expression import Method, parse
from harness.plan.methods import ResolvedMethod, ResolvedStage, Resolver
from harness.plan.sources import hardware_text
from harness.plan.steps import Step
from harness.plan.suite import Sweep, Tuning

if TYPE_CHECKING:
    from harness.plan.plan import Builder

Tried = Callable[[Step], float | None]
"""The validation loss that a trial ended with: None while it has not run, infinite where it failed."""


@dataclass(frozen=True)
class Trial:
    """One training at one value. ``method`` is the chain at the default, ``of`` the trial's own."""

    method: str
    of: str
    parameter: str
    value: Any
    model: str
    data: str
    precision: str
    hardware: str
    step: str
    loss: float | None
    chosen: bool = False

    def to_dict(self) -> dict[str, Any]:
        """The trial as ``plan.json`` shows it; the loss of one that failed is null, like that of one to come."""
        found = asdict(self)
        return found | {"loss": self.loss if self.loss is not None and math.isfinite(self.loss) else None}


class Tuner:
    """Gives every cell the values that its trials chose, and plans the trials that are missing."""

    def __init__(self, builder: Builder, resolver: Resolver, tried: Tried) -> None:
        self.builder = builder
        self.resolver = resolver
        self.tried = tried
        self.sets: dict[tuple[Any, ...], list[Trial]] = {}

    @property
    def trials(self) -> list[Trial]:
        """Every trial in the order in which they were planned."""
        return [trial for found in self.sets.values() for trial in found]

    def resolve(self, point: Point) -> Point | None:
        """Return the point with tuned stages at the values that were chosen; None while trials are missing."""
        sweep = next((sweep for sweep in point.sweeps if sweep.tune is not None), None)
        if sweep is None or sweep.tune is None:
            return point
        stages: list[ResolvedStage] = []
        for stage in point.method.stages:
            tuned = self._tuned(point, sweep, sweep.tune, stages, stage)
            if tuned is None:
                return None
            stages.append(tuned)
        method = self.resolver.chain(stages)
        return replace(point, method=method, cell=replace(point.cell, method=method.text))

    def _tuned(
        self, point: Point, sweep: Sweep, tune: Tuning, before: Sequence[ResolvedStage], stage: ResolvedStage
    ) -> ResolvedStage | None:
        """The stage at the value that was chosen; itself where it is not tuned; None while trials are missing."""
        parameter, values = tune.params.get(stage.call.name, ("", ()))
        if not values or getattr(stage.call.params, parameter) != defaults(stage.call.kind.Params)[parameter]:
            return stage
        at = {value: self._stage(stage, parameter, value) for value in values}
        chains = {value: self.resolver.chain([*before, one]) for value, one in at.items()}
        found = self._set(point, sweep, tune, self.resolver.chain([*before, stage]), parameter, chains)
        if not found:
            return stage
        best = min(found, key=lambda trial: math.inf if trial.loss is None else trial.loss)
        return None if any(trial.loss is None for trial in found) else at[best.value]

    def _set(
        self, point: Point, sweep: Sweep, tune: Tuning, default: ResolvedMethod, parameter: str,
        chains: Mapping[Any, ResolvedMethod],
    ) -> list[Trial]:  # fmt: skip
        """The trials of one chain in one place, the best marked; none where the chain cannot run there."""
        precision = tune.precision or point.precision
        key = (default, point.model, point.data, precision, point.hardware)
        if key not in self.sets:
            place = self.builder.place(point.model, point.data, precision, point.hardware)
            nodes = {
                value: self.builder.chain(place, method, tune.seed, self.builder.terms(sweep, method))
                for value, method in chains.items()
            }
            if any(node.reason or node.last is None for node in nodes.values()):
                return self.sets.setdefault(key, [])
            losses = {value: self.tried(self.builder.steps[str(node.last)]) for value, node in nodes.items()}
            best = None if None in losses.values() else min(losses, key=lambda value: losses[value] or 0.0)
            where = (point.model.word, point.data.word, precision, hardware_text(point.hardware))
            self.sets[key] = [
                Trial(default.text, chains[value].text, parameter, value, *where, str(node.last), losses[value],
                      value == best)
                for value, node in nodes.items()
            ]  # fmt: skip
        return self.sets[key]

    def _stage(self, stage: ResolvedStage, parameter: str, value: Any) -> ResolvedStage:
        (written,) = parse(stage.text).stages
        call = replace(written.call, params=(*written.call.params, (parameter, value)))
        return self.resolver.methods(str(Method((replace(written, call=call),))))[0].last
