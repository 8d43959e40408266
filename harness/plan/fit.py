"""Why a stage or task cannot be done here: asked of the technique, the machine and the checkpoint that it would get.

The plan walks each chain with a ``State``, what is known of the checkpoint before anything has run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from harness.contract import Budget, Hardware, Modifier, TrainingParams, TrainingSetup
from harness.errors import UsageError
from harness.models.architectures import ARCHITECTURES
from harness.plan.machine import Machine
from harness.plan.methods import ResolvedAdapter, ResolvedStage, ResolvedTask
from harness.plan.sources import UNKNOWN, DataSource, ModelSource
from harness.training.setup import plain_setup


@dataclass(frozen=True)
class State:
    """A checkpoint as the plan knows it: its kind and parts, whether its weights mean anything, its architecture.

    ``architecture`` is None where a model is given rather than made here; ``last`` says which technique made something
    that nothing can follow, and why.
    """

    kind: str
    parts: frozenset[str]
    trained: bool
    architecture: str | None = None
    last: str | None = None

    @classmethod
    def of(cls, model: ModelSource) -> State:
        """What opening ``model`` gives."""
        return cls(model.kind, model.parts, model.trained, model.spec.get("architecture"))

    def after(self, stage: ResolvedStage) -> State:
        """What ``stage`` makes of it."""
        adapter = stage.call.adapter
        if not stage.operations:
            return self
        trained = self.trained or (stage.learns and "model" in adapter.gives)
        kind = self.kind_with_weights if "model" in adapter.gives else self.kind
        last = None if adapter.ends is None else f"{stage.call.name} {adapter.ends}"
        parts = self.parts | adapter.gives
        if "model" in adapter.gives:  # adapters over the old one were merged into it, or are made anew
            parts -= {"peft"} - adapter.gives
        return State(adapter.makes_kind or kind, parts, trained, self.architecture, last)

    @property
    def kind_with_weights(self) -> str:
        """The kind of model that this is, or that a blank one becomes."""
        if self.kind != "blank" or self.architecture is None:
            return self.kind
        return ARCHITECTURES[self.architecture]


class Fit:
    """Answers for one machine; the part that depends on technique, precision and hardware alone is asked once."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self._calls: dict[tuple[Any, ...], str | None] = {}
        self._states: dict[tuple[Any, ...], str | None] = {}
        self._software: dict[tuple[Any, ...], str | None] = {}

    def stage(
        self, stage: ResolvedStage, state: State, data: DataSource, precision: str, where: Hardware
    ) -> str | None:
        """Return why ``stage`` cannot work on ``state`` here, or None."""
        for call in stage.everyone:
            if reason := self._call(call, precision, where):
                return reason
        if stage.modifiers and "train" not in stage.operations:
            return f"{stage.modifiers[0].name} changes how a stage trains, and {stage.call.name} does not train"
        key = (stage.call, state)
        if key not in self._states:
            self._states[key] = _misfit(stage, state)
        reason = self._states[key] or (_view(stage.call, data) if stage.operations else None)
        return reason or _unfit(stage, state, where)

    def setup(self, stage: ResolvedStage, budget: Budget | None, precision: str, where: Hardware) -> str | None:
        """Return why the modifiers of a stage that trains cannot change its set-up as asked, or None."""
        if budget is None or not isinstance(stage.call.params, TrainingParams):
            return None
        try:
            setup = plain_setup(stage.call.params, budget, precision, steps=1)
            for modifier in stage.modifiers:
                setup = _modified(modifier, setup)
        except UsageError as error:
            return str(error)
        return stage.call.adapter.declines(setup, where)

    def task(self, task: ResolvedTask, state: State, data: DataSource) -> str | None:
        """Return why ``task`` cannot score a checkpoint like ``state``, or None."""
        if reason := self._missing("main", task.kind.requires):
            return f"{task.name}: {reason}"
        return self.unscorable(task, state, data)

    def unscorable(self, task: ResolvedTask, state: State, data: DataSource) -> str | None:
        """Return why no machine could score ``state`` with ``task``, or None."""
        key = (task, state, data)
        if key not in self._states:
            self._states[key] = _unscorable(task, state, data)
        return self._states[key]

    def _call(self, call: ResolvedAdapter, precision: str, where: Hardware) -> str | None:
        key = (call, precision, where)
        if key not in self._calls:
            self._calls[key] = self._asked(call, precision, where)
        return self._calls[key]

    def _asked(self, call: ResolvedAdapter, precision: str, where: Hardware) -> str | None:
        kind = call.kind
        if reason := self.machine.lacks(where):
            return reason
        if where.device not in kind.devices:
            return f"{call.name} does not run on {where.device} (it runs on {', '.join(kind.devices)})"
        if precision not in kind.precisions:
            return f"{call.name} does not run at {precision} (it runs at {', '.join(kind.precisions)})"
        if reason := call.adapter.skip(precision, where):
            return reason
        # Last: what no set-up would help should not ask for one.
        for operation in (*kind.operations(), "eval"):
            if reason := self._missing(*kind.software(operation)):
                return f"{call.name}: {reason}"
        return None

    def _missing(self, environment: str, requires: tuple[str, ...]) -> str | None:
        key = (environment, requires)
        if key not in self._software:
            self._software[key] = self.machine.lacks_software(environment, requires)
        return self._software[key]


def _modified(modifier: ResolvedAdapter, setup: TrainingSetup) -> TrainingSetup:
    assert isinstance(modifier.adapter, Modifier)
    try:
        return modifier.adapter.modify(setup)
    except UsageError as error:
        raise UsageError(f"{modifier.name}: {error}") from None


def _unscorable(task: ResolvedTask, state: State, data: DataSource) -> str | None:
    kind = task.kind
    if kind.kinds and state.kind not in kind.kinds | {UNKNOWN}:
        return f"{task.name} scores {_either(kind.kinds)} models, this one is {state.kind}"
    if kind.needs_trained_weights and not state.trained:
        return "quality is not applicable: random weights"
    if lacking := sorted(kind.needs - state.parts):
        return f"{task.name} needs the part '{lacking[0]}', which neither the model nor a stage gives"
    view = task.task.view()
    return None if view is None or view in data.views else _no_view(task.name, view, data)


def _misfit(stage: ResolvedStage, state: State) -> str | None:
    adapter, name = stage.call.adapter, stage.call.name
    if not stage.operations:
        return None
    if state.last is not None:
        return f"{state.last}: nothing can follow it"
    if adapter.kinds and state.kind not in adapter.kinds | {UNKNOWN}:
        return f"{stage.call.text} works on {_either(adapter.kinds)} models, this one is {state.kind}"
    # A technique that makes no weights passes an architecture on as it is.
    blank = state.kind == "blank" and "model" in adapter.gives
    if blank and adapter.architectures and state.architecture not in adapter.architectures:
        return f"{name} makes {_either(adapter.architectures)} models, the blank one is {state.architecture}"
    if blank and adapter.makes_kind is None and state.kind_with_weights not in adapter.kinds | {"blank"}:
        works_on = _either(adapter.kinds - {"blank"})
        return f"{stage.call.text} works on {works_on} models, a {state.architecture} is {state.kind_with_weights}"
    if refused := sorted(adapter.refuses & state.parts):
        what = "adapters that are not merged" if refused == ["peft"] else f"the part '{refused[0]}'"
        return f"{name} cannot start from {what}, which the stage before it leaves"
    if lacking := sorted(adapter.takes - state.parts - ({"model"} if blank else set())):
        return f"{name} needs the part '{lacking[0]}', which neither the model nor an earlier stage gives"
    return None


def _unfit(stage: ResolvedStage, state: State, where: Hardware) -> str | None:
    """Why a modifier of the stage cannot be had for such a model."""
    for modifier in stage.modifiers:
        assert isinstance(modifier.adapter, Modifier)
        known = stage.call.adapter, state.kind_with_weights, state.architecture, where
        if reason := modifier.adapter.unfit(*known):
            return reason
    return None


def _view(call: ResolvedAdapter, data: DataSource) -> str | None:
    view = call.adapter.view
    return None if view is None or view in data.views else _no_view(call.name, view, data)


def _no_view(name: str, view: str, data: DataSource) -> str:
    has = ", ".join(sorted(data.views)) or "none"
    return f"{name} needs the view '{view}', which the data '{data.word}' does not offer (it has: {has})"


def _either(kinds: frozenset[str]) -> str:
    return " or ".join(sorted(kinds))
