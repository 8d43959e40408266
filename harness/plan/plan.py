"""The plan of a suite: its cells and the DAG of steps that measures them, each step once.

``plan`` walks every cell through its model's recipe, its stages and its tasks. A step that was met before is the same
step; what cannot run is kept with the reason. The launcher takes the steps in their order, which is topological.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any

from harness.contract import Adapter, Budget, Hardware
from harness.plan.cells import Cell, Point, expand
from harness.plan.fit import Fit, State
from harness.plan.machine import Machine, this_machine
from harness.plan.memory import Doubts
from harness.plan.methods import ResolvedMethod, ResolvedStage, ResolvedTask
from harness.plan.probing import unprobed
from harness.plan.sources import DataSource, ModelSource, hub_word
from harness.plan.steps import DONE, RUNNABLE, SKIPPED, Step, step_id
from harness.plan.suite import Suite, Sweep, collector_paused
from harness.plan.tuning import Trial, Tried, Tuner

FORMAT = 1


@dataclass(eq=False)
class Plan:
    """Cells in the order of the suite, steps in an order in which they can run, and for each cell its steps.

    ``trials`` choose the parameters that the suite tunes; ``waiting`` are the cells whose trials are not all finished.
    """

    suite: Suite
    cells: list[Cell]
    steps: list[Step]
    cell_steps: list[list[Step]]
    trials: list[Trial] = field(default_factory=list)
    waiting: list[Cell] = field(default_factory=list)
    baseline: str | None = None
    machine: Machine | None = None

    @cached_property
    def doubts(self) -> dict[str, float]:
        """Steps that are predicted not to fit the machine's memory: bytes by the step's id."""
        return {} if self.machine is None else Doubts(self.machine).of(self.steps)

    @cached_property
    def missing(self) -> list[ModelSource | DataSource]:
        """What of the hub is to be fetched before the steps that are to run can."""
        found: dict[str, ModelSource | DataSource] = {}
        for step in self.steps:
            if step.state == RUNNABLE:
                for source in step.sources:
                    if not source.here:
                        found[source.identity] = source
        return list(found.values())

    def counts(self) -> dict[str, int]:
        """Number of cells, and of steps by state."""
        states = Counter(step.state for step in self.steps)
        return {"cells": len(self.cells), "steps": len(self.steps)} | {
            state: states[state] for state in (RUNNABLE, DONE, SKIPPED)
        }

    def to_dict(self) -> dict[str, Any]:
        """The plan as ``plan.json`` and ``--json`` show it."""
        with collector_paused():
            return self._to_dict()

    def _to_dict(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "suite": self.suite.name,
            "question": self.suite.question,
            "notes": list(self.suite.notes),
            "baseline": self.baseline,
            "limits": dict(self.suite.limits),
            "counts": self.counts(),
            "cells": [
                {"id": cell.id, **asdict(cell), "steps": [step.id for step in steps]}
                for cell, steps in zip(self.cells, self.cell_steps, strict=True)
            ],
            "steps": [step.to_dict() for step in self.steps],
            "trials": [trial.to_dict() for trial in self.trials],
            "waiting": [{"id": cell.id, **asdict(cell)} for cell in self.waiting],
        } | self._warnings()

    def _warnings(self) -> dict[str, Any]:
        """What a reader should know of some plans: an entry is there where there is something to say."""
        found = {"predicted_not_to_fit": self.doubts, "to_fetch": [hub_word(source.spec) for source in self.missing]}
        return {name: value for name, value in found.items() if value}


def plan(
    suite: Suite,
    *,
    done: Callable[[Step], bool] | None = None,
    kept: Callable[[Step], bool] | None = None,
    tried: Tried | None = None,
    machine: Machine | None = None,
) -> Plan:
    """Return the plan of ``suite`` on ``machine`` (this one if not given).

    ``done`` says whether a step has been measured already, ``kept`` whether what other steps need of it (checkpoint or
    artefact) is still there: a step that was measured runs again where a step that must run needs what is gone.
    ``tried`` gives the validation loss that a tuning trial ended with.
    """
    machine = machine or this_machine()
    with collector_paused():
        builder = Builder(suite, machine)
        tuner = Tuner(builder, suite.resolver, tried or (lambda step: None))
        cells: dict[Cell, Point] = {}
        waiting: list[Cell] = []
        tuned: dict[str, set[str]] = {}
        for point in expand(suite):
            found = tuner.resolve(point)
            if found is None:
                waiting.append(point.cell)
            else:
                cells.setdefault(found.cell, found)
                tuned.setdefault(point.method.text, set()).add(found.method.text)
        for number, point in enumerate(cells.values()):
            builder.add(number, point)
        steps = list(builder.steps.values())
        if suite.interleaved:
            steps = _interleaved(list(cells), builder)
        if done is not None:
            _mark_done(steps, done, kept or (lambda step: True))
        baseline = _baseline(suite, tuned)
        return Plan(suite, list(cells), steps, builder.cell_steps, tuner.trials, waiting, baseline, machine)


def _interleaved(cells: Sequence[Cell], builder: Builder) -> list[Step]:
    """The steps seed after seed, the cells of each seed in an order that its hash draws, after what they need.

    A machine that drifts then drifts through every method alike, and runs of one seed are pairs.
    """
    def place(number: int) -> tuple[int, str]:
        cell = cells[number]
        drawn = hashlib.sha256(f"{cell.seed}:{cell.id}".encode()).hexdigest()
        return (-1 if cell.seed is None else cell.seed, drawn)

    found: dict[str, Step] = {}

    def add(step: Step) -> None:
        for needed in step.needs:
            if needed not in found:
                add(builder.steps[needed])
        found.setdefault(step.id, step)

    for number in sorted(range(len(cells)), key=place):
        for step in builder.cell_steps[number]:
            add(step)
    for step in builder.steps.values():
        add(step)
    return list(found.values())


def _adapters(method: ResolvedMethod) -> list[Adapter]:
    """The techniques of a method, those of methods in its parameters before the one that takes them."""
    found: list[Adapter] = []
    for stage in method.stages:
        for _, inner in stage.methods:
            found += _adapters(inner)
        found.append(stage.call.adapter)
    return found


def _baseline(suite: Suite, tuned: Mapping[str, set[str]]) -> str | None:
    """The baseline as its cells are called, which is another name where trials gave it the same value everywhere."""
    names = tuned.get(suite.baseline or "", set())
    return next(iter(names)) if len(names) == 1 else suite.baseline


def _mark_done(steps: Sequence[Step], done: Callable[[Step], bool], kept: Callable[[Step], bool]) -> None:
    """Later steps first, because whether a step must run again depends on those that need it."""
    needed: set[str] = set()
    for step in reversed(steps):
        if step.state == SKIPPED:
            continue
        if done(step) and (step.id not in needed or kept(step)):
            step.state = DONE
        else:
            needed.update(step.needs)


@dataclass(frozen=True, eq=False, slots=True)
class _Terms:
    """What a chain may use: the budget, by how much it is divided, and then whose cell its steps belong to."""

    budget: Budget
    share: int = 1
    owner: str | None = None


@dataclass(frozen=True, eq=False, slots=True)
class _Node:
    """The end of a chain: the step that made the checkpoint (None: the model itself) and all steps on the way."""

    last: str | None
    path: tuple[Step, ...]
    state: State
    reason: str | None


@dataclass(eq=False, slots=True)
class _Place:
    """Everything of a cell but its method and seed, with the chains that were built there."""

    model: ModelSource
    data: DataSource
    precision: str
    hardware: Hardware
    start: _Node | None = None
    chains: dict[tuple[Any, ...], _Node] = field(default_factory=dict)
    scores: dict[tuple[Any, ...], Step] = field(default_factory=dict)


class Builder:
    """Builds steps cell by cell. Chains are remembered by place, method, seed and terms; steps by id."""

    def __init__(self, suite: Suite, machine: Machine) -> None:
        self.steps: dict[str, Step] = {}
        self.cell_steps: list[list[Step]] = []
        self.fit = Fit(machine)
        self.base = suite.resolver.methods("base")[0]
        self._places: dict[tuple[Any, ...], _Place] = {}
        self._terms: dict[tuple[Any, ...], _Terms] = {}
        self._recipes: dict[ModelSource, ModelSource] = {}

    def add(self, number: int, point: Point) -> None:
        """Add one cell with all its steps."""
        place = self.place(point.model, point.data, point.precision, point.hardware)
        seed = point.cell.seed
        found: list[Step] = []
        for sweep in point.sweeps:
            terms = self.terms(sweep, point.method)
            found.extend(self._path(place, point.method, seed, terms, sweep))
            found.extend([self.score(place, point.method, seed, terms, task) for task in sweep.tasks])
        if len(point.sweeps) > 1:
            found = list(dict.fromkeys(found))
        for step in found:
            step.cells.append(number)
        self.cell_steps.append(found)

    def _path(
        self, place: _Place, method: ResolvedMethod, seed: int | None, terms: _Terms, sweep: Sweep
    ) -> tuple[Step, ...]:
        """Steps that make what a cell's tasks ask for: not the last stage's where they all measure its training."""
        if not sweep.tasks or not all(task.kind.measures_training for task in sweep.tasks):
            return self.chain(place, method, seed, terms).path
        return () if method.before is None else self.chain(place, method.before, seed, terms).path

    def place(self, model: ModelSource, data: DataSource, precision: str, hardware: Hardware) -> _Place:
        """The place with these coordinates."""
        key = (model, data, precision, hardware)
        place = self._places.get(key)
        if place is None:
            place = self._places[key] = _Place(*key)
        return place

    def terms(self, sweep: Sweep, method: ResolvedMethod) -> _Terms:
        """Terms of ``method`` in ``sweep``. Where a budget is divided, a prefix is not the cell of the same name."""
        share = sweep.share(method)
        key = (id(sweep), share, method if share > 1 else None)
        terms = self._terms.get(key)
        if terms is None:
            terms = self._terms[key] = _Terms(sweep.budget, share, method.text if share > 1 else None)
        return terms

    def chain(self, place: _Place, method: ResolvedMethod, seed: int | None, terms: _Terms) -> _Node:
        """Return the end of ``method`` at ``place``, building the steps of its stages that are new."""
        seed = seed if method.learns else None
        key = (method, seed, terms)
        node = place.chains.get(key)
        if node is None:
            before = self.start(place) if method.before is None else self.chain(place, method.before, seed, terms)
            node = place.chains[key] = self._stage(place, method, seed, terms, before)
        return node

    def start(self, place: _Place) -> _Node:
        """Where every chain at ``place`` begins: the model as it comes, or the end of its recipe."""
        if place.start is None:
            recipe = place.model.recipe
            if recipe is None:
                place.start = _Node(None, (), State.of(place.model), None)
            else:
                hardware = recipe.hardware or place.hardware
                where = self.place(self._bare(place.model), recipe.data, recipe.precision, hardware)
                owner = recipe.method.text if recipe.share > 1 else None
                terms = _Terms(recipe.budget, recipe.share, owner)
                place.start = self.chain(where, recipe.method, recipe.seed, terms)
        return place.start

    def _bare(self, model: ModelSource) -> ModelSource:
        """The architecture that a recipe starts from, under a name that no cell has."""
        if model not in self._recipes:
            self._recipes[model] = replace(model, word=f"recipe:{model.word}", recipe=None)
        return self._recipes[model]

    def _stage(
        self, place: _Place, method: ResolvedMethod, seed: int | None, terms: _Terms, before: _Node
    ) -> _Node:
        stage = method.last
        reason = before.reason or self.fit.stage(stage, before.state, place.data, place.precision, place.hardware)
        last, path, others = before.last, list(before.path), []
        for key, inner in stage.methods:
            node = self.chain(place, inner, seed, terms)
            reason = reason or node.reason
            path += [step for step in node.path if step not in path]
            others += [(key, node.last)] if node.last is not None else []
        for operation in stage.operations:
            budget = stage.budget(terms.budget, terms.share) if operation == "train" else None
            reason = reason or self.fit.setup(stage, budget, place.precision, place.hardware)
            reads_data = stage.call.adapter.view is not None
            step = self._step(
                place, operation, method, None, seed, budget, last, None, tuple(others), reads_data,
                terms.owner or method.text, reason,
            )  # fmt: skip
            last = step.id
            path.append(step)
        return _Node(last, tuple(path), before.state.after(stage), reason)

    def score(
        self, place: _Place, method: ResolvedMethod, seed: int | None, terms: _Terms, task: ResolvedTask
    ) -> Step:
        """Return the ``eval`` step of ``task`` on ``method``, and plan the reference that it is compared with."""
        seed = seed if method.learns else None
        key = (method, seed, terms, task)
        step = place.scores.get(key)
        if step is not None:
            return step
        if task.kind.measures_training:
            step = place.scores[key] = self._probing(place, method, seed, terms, task)
            return step
        node = self.chain(place, method, seed, terms)
        reason = node.reason or self.fit.task(task, node.state, place.data)
        reference = None
        if task.kind.compares_with_reference:
            reference = self._reference(place, method, seed, terms, task)
        if reference is not None:
            reference.keeps_artefact = True
            reason = reason or reference.reason
        others, trouble = self._judges(place, method, terms, task)
        step = place.scores[key] = self._step(
            place, "eval", method, task, seed, None, node.last, None if reference is None else reference.id, others,
            task.task.view() is not None, method.text, reason or trouble,
        )  # fmt: skip
        if task.kind.compares_with_reference and method is self.base and place.precision == "fp32":
            step.keeps_artefact = True
        return step

    def _judges(
        self, place: _Place, method: ResolvedMethod, terms: _Terms, task: ResolvedTask
    ) -> tuple[tuple[tuple[str, str], ...], str | None]:
        """Steps that make what a task's methods name, the same for whatever is scored, and why one cannot be had."""
        others, reason = [], None
        where = self.place(place.model, place.data, "fp32", place.hardware)
        for key, inner in task.methods:
            node = self.chain(where, inner, 0, self._undivided(terms))
            reason = reason or node.reason
            others += [(key, node.last)] if node.last is not None else []
        chains = {key: _adapters(inner) for key, inner in task.methods}
        reason = reason or task.task.conflict(_adapters(method), chains)
        return tuple(others), reason

    def _undivided(self, terms: _Terms) -> _Terms:
        """The same budget for a chain that is no part of a method which divides it."""
        key = ("whole", id(terms.budget))
        return self._terms.setdefault(key, _Terms(terms.budget))

    def _probing(
        self, place: _Place, method: ResolvedMethod, seed: int | None, terms: _Terms, task: ResolvedTask
    ) -> Step:
        """The step of a task that measures the training of the last stage: it begins with what that stage would."""
        stage = method.last
        before = self.start(place) if method.before is None else self.chain(place, method.before, seed, terms)
        reason = before.reason or self.fit.stage(stage, before.state, place.data, place.precision, place.hardware)
        budget = stage.budget(terms.budget, terms.share)
        if budget is None:
            reason = reason or f"{task.name} measures training, and {stage.call.name} does not train"
        reason = reason or unprobed(task.name, stage, before.state, place.hardware)
        reason = reason or self.fit.setup(stage, budget, place.precision, place.hardware)
        return self._step(
            place, "eval", method, task, seed, budget, before.last, None, (), stage.call.adapter.view is not None,
            method.text, reason,
        )  # fmt: skip

    def _reference(
        self, place: _Place, method: ResolvedMethod, seed: int | None, terms: _Terms, task: ResolvedTask
    ) -> Step | None:
        """The same task on what ``method`` started from; None where that is itself or means nothing."""
        target = method.compared_with or self.base
        since = method.stages if target is self.base else method.stages[len(target.stages) :]
        if any("tokenizer" in stage.call.kind.gives for stage in since):
            return None
        if target is self.base and self.fit.unscorable(task, self.start(place).state, place.data):
            return None
        precision = place.precision if target.learns else "fp32"
        if target is method and precision == place.precision:
            return None
        return self.score(self.place(place.model, place.data, precision, place.hardware), target, seed, terms, task)

    def _step(
        self, place: _Place, operation: str, method: ResolvedMethod, task: ResolvedTask | None, seed: int | None,
        budget: Budget | None, input: str | None, reference: str | None, others: tuple[tuple[str, str], ...],
        reads_data: bool, method_text: str, reason: str | None,
    ) -> Step:  # fmt: skip
        """Return the step with this identity, made if it is new."""
        stage: ResolvedStage = method.last
        identity = step_id(
            operation, stage, task, place.model, place.data if reads_data else None, place.precision, place.hardware,
            seed, budget, input, reference, others,
        )  # fmt: skip
        step = self.steps.get(identity)
        if step is None:
            step = self.steps[identity] = Step(
                identity, operation, method, stage, task, place.model, place.data, place.precision, place.hardware,
                seed, budget, input, reference, others, reads_data, place.model.word, method_text,
                SKIPPED if reason else RUNNABLE, reason,
            )  # fmt: skip
        return step
