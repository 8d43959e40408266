"""What learnt from preferences among a suite's groups, what each is compared with, and its scores, for the sections."""

from __future__ import annotations

from harness.analyse.cells import CHAIN
from harness.analyse.summary import Line
from harness.errors import MethodError
from harness.plan.expression import Method, parse
from harness.report.content import Content
from harness.report.outcomes import Key, Outcome

LEARNS = ("reward_model", "dpo", "ppo")
JUDGE = "judge_reward"
ACCURACY = "preference_accuracy"
ON_VALIDATION = "validation_preference_accuracy"


def aligned_groups(content: Content, which: Key) -> list[Outcome]:
    """Groups with a stage that learnt from preferences, where training was more than probed for its memory."""
    found = [one for one in content.groups(which) if any(name in LEARNS for name in techniques(one))]
    return [one for one in found if one.status != "done" or content.trained(one.key)]


def stages_of(method: str) -> list[str]:
    """The stages of a method as they are written; a chain within a parameter is none of them."""
    try:
        return [str(Method((stage,))) for stage in parse(method).stages]
    except MethodError:
        return method.split(CHAIN)


def technique_of(stage: str) -> str:
    """The technique of a stage's text, without parameters and modifiers."""
    return stage.partition("(")[0].partition(" + ")[0]


def techniques(one: Outcome) -> list[str]:
    """Names of a group's techniques, in the order of its stages."""
    return [technique_of(stage) for stage in stages_of(str(one.key[0]))]


def last_technique(one: Outcome) -> str:
    """Name of the technique of a group's last stage."""
    return techniques(one)[-1]


def chain_before(content: Content, one: Outcome) -> Outcome | None:
    """The same chain before its first stage that learnt from preferences: what its answers are compared with."""
    stages = stages_of(str(one.key[0]))
    first = next(place for place, name in enumerate(techniques(one)) if name in LEARNS)
    wanted = (CHAIN.join(stages[:first]) or "base", *one.key[1:])
    return next((other for other in content.outcomes if other.key == wanted and other.status == "done"), None)


def line_of(content: Content, one: Outcome | None, metric: str) -> Line | None:
    """The line of a metric of a group, of whichever task gives it."""
    if one is None:
        return None
    found = (content.score(one.key, task, metric) for task in content.tasks_with(metric))
    return next((line for line in found if line is not None), None)


def score_of(content: Content, one: Outcome, metric: str) -> float | None:
    """The value of that line."""
    line = line_of(content, one, metric)
    return None if line is None else float(line["value"])
