"""One step of a plan: one operation of one stage, run in one process; its id says what determines its result."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from harness.contract import MEASUREMENT_VERSION, Budget, Hardware, identifying
from harness.plan.methods import ResolvedMethod, ResolvedStage, ResolvedTask, canonical_json
from harness.plan.sources import DataSource, ModelSource, hardware_text

RUNNABLE, SKIPPED, DONE = "runnable", "skipped", "done"


@dataclass(slots=True, eq=False)
class Step:
    """One ``train``, ``compress`` or ``eval``.

    ``input`` and ``reference`` are ids of other steps; ``others`` maps parameters that are methods to the steps that
    made what they name. ``model_word`` and ``method_text`` are its coordinates, which differ from the cell's for a step
    of a recipe or of a prefix. ``cells`` are the numbers of the cells that it serves.
    """

    id: str
    operation: str
    method: ResolvedMethod
    stage: ResolvedStage
    task: ResolvedTask | None
    model: ModelSource
    data: DataSource
    precision: str
    hardware: Hardware
    seed: int | None
    budget: Budget | None
    input: str | None
    reference: str | None
    others: tuple[tuple[str, str], ...]
    reads_data: bool
    model_word: str
    method_text: str
    state: str = RUNNABLE
    reason: str | None = None
    keeps_artefact: bool = False
    cells: list[int] = field(default_factory=list)

    @property
    def needs(self) -> tuple[str, ...]:
        """Ids of all steps that must be done before this one."""
        found = (self.input, self.reference, *(step for _, step in self.others))
        return tuple(step for step in found if step is not None)

    @property
    def sources(self) -> list[ModelSource | DataSource]:
        """The model and the data that it opens itself."""
        found: list[ModelSource | DataSource] = [] if self.input is not None else [self.model]
        return [*found, self.data] if self.reads_data else found

    @property
    def environment(self) -> str:
        """Name of the environment that it runs in."""
        return self.stage.call.kind.software(self.operation)[0]

    @property
    def coordinates(self) -> dict[str, Any]:
        """Where in the sweep it belongs, as records and rows carry it: that of the first cell that asked for it."""
        return {
            "method": self.method_text,
            "stage": self.stage.text,
            "technique": self.stage.call.name,
            "task": None if self.task is None else self.task.text,
            "model": self.model_word,
            "data": self.data.word,
            "precision": self.precision,
            "hardware": hardware_text(self.hardware),
            "seed": self.seed,
            "params": dict(self.stage.call.complete),
        }

    def to_dict(self) -> dict[str, Any]:
        """The step as ``plan.json`` and ``--json`` show it."""
        return {
            "id": self.id,
            "operation": self.operation,
            "coordinates": self.coordinates,
            "input": self.input,
            "reference": self.reference,
            "inputs": dict(self.others),
            "state": self.state,
            "reason": self.reason,
            "keeps_artefact": self.keeps_artefact,
            "cells": list(self.cells),
        }


def step_id(
    operation: str,
    stage: ResolvedStage,
    task: ResolvedTask | None,
    model: ModelSource,
    data: DataSource | None,
    precision: str,
    hardware: Hardware,
    seed: int | None,
    budget: Budget | None,
    input: str | None,
    reference: str | None,
    others: tuple[tuple[str, str], ...] = (),
) -> str:
    """Return the first 16 hex digits of the SHA-256 of the canonical JSON of everything that determines the result.

    The text is put together from parts that many steps share (a test compares it with ``json.dumps``): a plan of
    100 000 cells spends most of its time here.
    """
    also = f'"inputs":{canonical_json(dict(others))},' if others else ""
    text = (
        f'{{"adapter":{stage.call.identity},"budget":{_budget_json(budget)},'
        f'"data":{"null" if data is None else data.identity},"hardware":{_hardware_json(hardware)},'
        f'"input":{_text(input)},{also}"measurement_version":{MEASUREMENT_VERSION},"model":{model.identity},'
        f'"modifiers":[{",".join([call.identity for call in stage.modifiers])}],"operation":"{operation}",'
        f'"precision":"{precision}","reference":{_text(reference)},"seed":{"null" if seed is None else seed},'
        f'"task":{"null" if task is None else task.identity}}}'
    )
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _text(step: str | None) -> str:
    return "null" if step is None else f'"{step}"'


@cache
def _budget_json(budget: Budget | None) -> str:
    return canonical_json(None if budget is None else identifying(budget))


@cache
def _hardware_json(hardware: Hardware) -> str:
    return canonical_json(identifying(hardware))
