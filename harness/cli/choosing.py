"""``harness choose``: which method to use under constraints, from what was measured."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.cli.tables import warn_unreadable
from harness.cli.terminal import print, print_json
from harness.contract import Budget, Hardware
from harness.errors import HarnessError, UsageError, did_you_mean
from harness.memory.units import bytes_of

if TYPE_CHECKING:
    from harness.analyse.choose import Candidate, Choice, Constraints
    from harness.report.candidates import Question

_SECONDS = {"s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "hours": 3600, "hour": 3600, "d": 86_400}


@dataclass(frozen=True)
class Asked:
    """What the command line asked for, as it was written."""

    suite: str
    memory: str | None
    loss: str | None
    time: str | None
    goal: str
    model: str | None
    hardware: str | None
    quality: str | None
    extrapolated: str | None
    batch: int
    sequence: int
    file: Path | None = None

    @property
    def reproduce(self) -> str:
        """The command that measures again what decides."""
        return f"harness run {self.file or self.suite}"


def show_choice(asked: Asked, results: Path, reports: Path | None, *, as_json: bool) -> int:
    """Choose and show the answer; 1 where nothing meets the constraints."""
    from harness.analyse.choose import choose

    bounds = constraints_of(asked)
    from harness.report.build import content_of
    from harness.report.candidates import candidates_of, question_of, unmeasured
    from harness.report.recipes import recipe_of

    content = content_of(results, asked.suite)
    warn_unreadable(content.frame.attrs.get("unreadable", ()))
    question = question_of(content, model=asked.model, hardware=asked.hardware, quality=asked.quality)
    predict = None if asked.extrapolated is None else _Predictor(asked, str(question.which[2]))
    candidates = candidates_of(content, question, predict)
    if predict is not None and all(one.memory is None for one in candidates):
        raise UsageError(f"nothing can be extrapolated to {asked.extrapolated}: {predict.reason}")
    made, others = choose(candidates, bounds, asked.goal), unmeasured(content, question)
    recipe = None if made.winner is None else recipe_of(content, question, made.winner)
    if reports is not None:
        from harness.report.decision import build_decision
        from harness.report.index import build_index

        folder = reports / asked.suite / "choose"
        written = build_decision(content, question, candidates, made, recipe, folder)
        build_index(reports)
    if as_json:
        print_json(as_document(asked, question, made, recipe) | {"unmeasured": others})
    else:
        _show(asked, question, made, others)
        _show_recipe(asked, made, recipe)
        if reports is not None:
            print(f"page: {written[0]}")
    return 0 if made.winner is not None else 1


def constraints_of(asked: Asked) -> Constraints:
    """The constraints and the goal as numbers; ``UsageError`` names what is none."""
    from harness.analyse.choose import GOALS, Constraints

    if asked.goal not in GOALS:
        raise UsageError(f"unknown goal '{asked.goal}'{did_you_mean(asked.goal, GOALS)}; known: {', '.join(GOALS)}")
    return Constraints(
        memory=None if asked.memory is None else bytes_of(asked.memory),
        loss=None if asked.loss is None else share_of(asked.loss),
        seconds=None if asked.time is None else seconds_of(asked.time),
    )


def share_of(text: str) -> float:
    """A share like ``2%`` or ``0.02``; ``UsageError`` for anything else."""
    number = text.strip()
    try:
        value = float(number[:-1]) / 100 if number.endswith("%") else float(number)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise UsageError(f"'{text}' is no share of quality: write a percentage like 2%, or a number from 0 to 1")
    return value


def seconds_of(text: str) -> float:
    """A duration like ``90s``, ``20min`` or ``1h``; ``UsageError`` for anything else."""
    found = re.fullmatch(r"\s*([0-9.]+)\s*([a-z]*)\s*", text.lower())
    try:
        value = float(found[1]) * _SECONDS[found[2] or "s"] if found else math.nan
    except (KeyError, ValueError):
        value = math.nan
    if not 0 < value < math.inf:
        raise UsageError(f"'{text}' is no duration: write a number and a unit, like 90s, 20min or 1h")
    return value


def as_document(asked: Asked, question: Question, made: Choice, recipe: str | None) -> dict[str, Any]:
    """The answer as JSON."""
    return {
        "suite": asked.suite,
        "table": dict(zip(("model", "data", "hardware"), question.which, strict=True)),
        "quality": {"task": question.task, "metric": question.metric, "best": question.best.key[0],
                    "best_value": question.best_value},
        "goal": made.goal,
        "constraints": made.constraints.given(),
        "memory_of": asked.extrapolated or str(question.which[0]),
        "winner": None if made.winner is None else made.winner.id,
        "tied": [one.id for one in made.tied],
        "ranked": [one.to_dict() for one in made.ranked],
        "excluded": [
            {**one.candidate.to_dict(), "needs": dict(one.by), "undecided": one.undecided} for one in made.excluded
        ],
        "reproduce": asked.reproduce,
        "changes": [
            {"constraint": one.constraint, "bound": one.bound, "looser": one.looser,
             "winner": None if one.winner is None else one.winner.id}
            for one in made.changes
        ],
        "recipe": recipe,
    }  # fmt: skip


class _Predictor:
    """What a method takes on the model that is asked about; None where it is not known, and why in ``reason``."""

    def __init__(self, asked: Asked, hardware: str) -> None:
        from harness.plan.memory import held_model
        from harness.plan.methods import Resolver

        self.resolver, self.model = Resolver(), held_model(asked.extrapolated or "")
        self.device = hardware.partition("(")[0]
        self.budget = Budget(steps=1, batch_size=asked.batch, sequence_length=asked.sequence)
        self.reason = "no method was measured"

    def __call__(self, method: str, precision: str) -> float | None:
        from harness.plan.memory import LIBRARIES, predict_method

        hardware = Hardware(self.device)
        try:
            stages = predict_method(self.resolver.methods(method)[0], self.model, self.budget, precision, hardware)
        except HarnessError as error:
            self.reason = str(error)
            return None
        alone = LIBRARIES if self.device == "cpu" else 0.0
        return alone + max(stage.prediction.peak for stage in stages)


def _show(asked: Asked, question: Question, made: Choice, others: Mapping[str, str]) -> None:
    from harness.report.choice_words import bounds_in_words, change_in_words, miss_in_words

    model, data, hardware = question.which
    print(f"{asked.suite}: {model}, {data}, {hardware}")
    best = f"the best, {question.best.key[0]} at {question.best.key[3]}"
    print(f"quality: {question.metric} of {question.task}, against {best} ({question.best_value:.4g})")
    if asked.extrapolated:
        size = f"{asked.batch} x {asked.sequence} tokens"
        print(f"memory: predicted for {asked.extrapolated}, {size}; quality, time and speed: as measured on {model}")
    print(f"goal: {made.goal}; {bounds_in_words(made)}\n")
    tied = {one.id for one in made.tied}
    for place, one in enumerate(made.ranked, start=1):
        print(f"{place:>3}  {one.id:<44} {_facts(one)}{'  (tied with the first)' if one.id in tied else ''}")
    if made.winner is None:
        what = "these constraints" if made.constraints.given() else f"the goal: no {made.goal} was measured"
        print(f"nothing meets {what}; the nearest misses:")
    elif made.excluded:
        print("not recommended, the nearest first:")
    for miss in made.excluded:
        print(f"  -  {miss.candidate.id:<44} {miss_in_words(miss)}")
    for name, how in others.items():
        print(f"  x  {name:<44} {how}")
    if made.changes:
        print("what alone would change the answer:")
    for change in made.changes:
        print(f"  {change_in_words(change)}")


def _show_recipe(asked: Asked, made: Choice, recipe: str | None) -> None:
    if made.winner is None:
        return
    print(f"\nreproduce: {asked.reproduce}")
    if recipe is None:
        print(f"{made.winner.method} has no form in plain libraries here: the harness makes it (harness run)")
    else:
        print(f"\nin plain libraries:\n\n{recipe}")


def _facts(one: Candidate) -> str:
    from harness.report.choice_words import quantity, spread

    told = []
    if one.loss is not None:
        told.append(f"loses {quantity('loss', one.loss.value)} {spread('loss', one.loss)}".strip())
    if one.memory is not None:
        told.append(f"{quantity('memory', one.memory.value)}{' predicted' if one.predicted else ''}")
    if one.seconds is not None:
        told.append(f"made in {quantity('seconds', one.seconds.value)}" if one.seconds.value else "nothing to make")
    if one.speed is not None:
        told.append(quantity("speed", one.speed.value))
    return ", ".join(told)

