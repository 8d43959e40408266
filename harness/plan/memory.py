"""What methods and planned steps are predicted to take in memory, and which steps will not fit this machine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.contract import Budget, Hardware
from harness.errors import ModelError, UsageError, did_you_mean
from harness.hub.cache import Repository
from harness.memory.held import Held
from harness.memory.prediction import Prediction, predict_opened, predict_training
from harness.models.published import PUBLISHED
from harness.models.sources import read_configuration
from harness.plan.machine import Machine
from harness.plan.methods import ResolvedMethod, ResolvedStage
from harness.plan.sources import ModelSource, located, model_source
from harness.plan.steps import RUNNABLE, Step
from harness.training.setup import plain_setup

# What a worker has in memory before any work: 541 to 543 MB in every committed record.
LIBRARIES = 550e6

OPENED = "opened"


@dataclass(frozen=True)
class Stage:
    """The prediction for one stage that trains, or for the method's end as it is opened."""

    text: str
    parameters: int
    trained: int
    prediction: Prediction


def predict_method(
    method: ResolvedMethod, model: Held, budget: Budget, precision: str, hardware: Hardware
) -> list[Stage]:
    """One prediction for each stage that trains, and the last for what the method leaves, opened to generate.

    Raises ``UsageError`` where a technique makes no sense on the model or hardware, or is not known to the prediction.
    """
    found, held = [], model
    for stage in method.stages:
        before, held = held, _after(stage, held)
        _check(stage, before, held, budget, precision, hardware)
        if stage.learns:
            prediction = _training(stage, held, stage.budget(budget, 1) or budget, precision, hardware)
            added = prediction.trained if held.learning.apart else 0
            found.append(Stage(stage.text, held.shape.parameters + added, prediction.trained, prediction))
    # Ranks are for training: what is opened is not divided over them.
    if not held.headless and held.shape.kind == "causal" and hardware.ranks == 1:
        opened = predict_opened(held, precision, budget.batch_size, budget.sequence_length)
        found.append(Stage(OPENED, held.shape.parameters, 0, opened))
    if not found:
        raise UsageError(f"'{method.text}' trains nothing, and a {held.shape.kind} model generates nothing to predict")
    return found


def held_model(word: str) -> Held:
    """The model that a word names: one of the harness's, a published shape, or a ``config.json`` (or its folder)."""
    if word in PUBLISHED:
        return Held.of(PUBLISHED[word])
    path = located(word, Path(), ModelError)
    file = path / "config.json" if path.is_dir() else path
    if file.suffix == ".json" or path.is_dir():
        return Held.of(read_configuration(file))
    try:
        return _held(model_source(word, {}, Path()))
    except ModelError as error:
        hint = did_you_mean(word, PUBLISHED)
        known = f"{hint or ''}; published shapes: {', '.join(PUBLISHED)}" if "unknown model" in str(error) else ""
        said = str(error).split("; use ")[0]
        raise ModelError(f"{said}{known}" if known else str(error)) from None


class Doubts:
    """Which steps of a plan are predicted not to fit the machine; each kind of step is predicted once."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self._ends: dict[tuple[Any, ...], Held | None] = {}
        self._bytes: dict[tuple[Any, ...], float | None] = {}

    def of(self, steps: Iterable[Step]) -> dict[str, float]:
        """Predicted bytes of every runnable step that has more than the machine, by the step's id."""
        found = {}
        for step in steps:
            size = self.bytes_of(step) if step.state == RUNNABLE else None
            if size is not None and size > self.machine.memory_of(step.hardware):
                found[step.id] = size
        return found

    def bytes_of(self, step: Step) -> float | None:
        """Predicted bytes of one step, libraries included; None where nothing is predicted."""
        trains = step.operation == "train" or (step.task is not None and step.task.kind.measures_training)
        key = (step.method, step.model, step.precision, step.hardware, step.budget if trains else None)
        if key not in self._bytes:
            self._bytes[key] = self._predicted(step, trains)
        return self._bytes[key]

    def _predicted(self, step: Step, trains: bool) -> float | None:
        held = self._end(step.method, step.model)
        if held is None:
            return None
        alone = 0.0 if step.hardware.device == "cuda" else LIBRARIES
        if not trains:
            return alone + predict_opened(held, step.precision, 1, 1).peak
        if not step.stage.learns or step.budget is None:
            return None
        try:
            found = _training(step.stage, held, step.budget, step.precision, step.hardware).peak
        except UsageError:
            return None
        on_one = step.hardware.device == "cuda" or step.hardware.ranks == 1
        return (alone + found) * (1 if on_one else step.hardware.ranks)

    def _end(self, method: ResolvedMethod, model: ModelSource) -> Held | None:
        key = (method, model)
        if key not in self._ends:
            before = self._start(model) if method.before is None else self._end(method.before, model)
            self._ends[key] = None if before is None else method.last.call.adapter.holds(before)
        return self._ends[key]

    def _start(self, model: ModelSource) -> Held | None:
        try:
            held = _held(model)
        except ModelError:
            return None
        if model.recipe is None:
            return held
        for stage in model.recipe.method.stages:
            after = stage.call.adapter.holds(held)
            if after is None:
                return None
            held = after
        return held


def _training(
    stage: ResolvedStage, held: Held, budget: Budget, precision: str, hardware: Hardware
) -> Prediction:
    setup = plain_setup(stage.call.params, budget, precision, 1)
    for modifier in stage.modifiers:
        setup = modifier.adapter.modify(setup)  # type: ignore[attr-defined]
    if reason := stage.call.adapter.declines(setup, hardware):
        raise UsageError(reason)
    if setup.micro_batch_size % hardware.ranks:
        raise UsageError(f"{hardware.ranks} ranks do not divide a micro-batch of {setup.micro_batch_size} sequences")
    return predict_training(held, setup, hardware)


def _after(stage: ResolvedStage, held: Held) -> Held:
    after = stage.call.adapter.holds(held)
    if after is None:
        raise UsageError(f"the memory of {stage.call.name} is not predicted")
    return after


def _check(
    stage: ResolvedStage, before: Held, held: Held, budget: Budget, precision: str, hardware: Hardware
) -> None:
    for call in stage.everyone:
        if reason := call.adapter.skip(precision, hardware):
            raise UsageError(reason)
    name, shape, makes_tokenizer = stage.call.name, before.shape, stage.call.kind.gives == {"tokenizer"}
    kinds = stage.call.adapter.kinds - {"blank"}
    if shape.kind not in kinds and not makes_tokenizer:
        raise UsageError(f"{name} works on {' or '.join(sorted(kinds))} models, this one is {shape.kind}")
    if before.headless and not makes_tokenizer:
        raise UsageError(f"{name} cannot follow a stage that put another head on the model")
    if not stage.learns:
        return
    if before.storage is not None and held.learning.everything:
        raise UsageError(f"quantised weights cannot be trained: put {name} before the compression")
    if not held.learning.parameters(held.shape):
        names = ", ".join(dict.fromkeys(one.name for one in shape.linears()))
        raise UsageError(f"nothing of this model would learn by {stage.call.text}: its matrices are {names}")
    own = budget.of_stage(stage.call.params)
    if shape.positions and own.sequence_length > shape.positions:
        raise UsageError(f"{own.sequence_length} tokens are more than the model's context of {shape.positions}")


def _held(model: ModelSource) -> Held:
    spec = model.spec
    if spec["kind"] in ("random", "architecture"):
        return Held.of(spec["configuration"]) if "configuration" in spec else Held.of_sizes(spec)
    if spec["kind"] == "embedded":
        return Held.of(read_configuration(Path(__file__).parents[1] / "models" / "embedded" / "config.json"))
    if spec["kind"] == "folder":
        return Held.of(read_configuration(Path(spec["path"]) / "config.json"))
    if spec["kind"] == "hub":
        return Held.of(read_configuration(_downloaded(spec)))
    raise ModelError(f"'{model.word}' is no model whose memory can be predicted")


def _downloaded(spec: Mapping[str, Any]) -> Path:
    """The configuration of a hub model in the hub's cache, found without the hub's library."""
    commit = spec.get("commit")
    file = Repository("model", spec["id"]).snapshot(commit) / "config.json" if commit else None
    if file is None or not file.is_file():
        word = f"hub:{spec['id']}@{spec['revision']}"
        raise ModelError(
            f"{word} is not in the hub's cache, so its sizes are unknown: harness prepare {word}, or give a config.json"
        )
    return file
