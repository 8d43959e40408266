"""Objectives: what each pre-training cost, and what the same further training makes of each.

Found here for ``objective_tables``, which shows it. The one comparison across models: an objective comes with its
architecture, and both are the row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from harness.analyse.cells import CHAIN
from harness.analyse.summary import Line, is_same, is_tied
from harness.catalogue import adapter_class, group_of
from harness.errors import UsageError
from harness.metrics import metric as declared
from harness.plan.expression import Method, Stage, parse
from harness.report.content import Content
from harness.report.outcomes import Key
from harness.report.results import OVERHEAD, SHOWN

NONE = "none"
# What is asked of a task here: one metric, one that can be compared paired where there is one.
ASKED = ("classification_accuracy", "choice_accuracy", "rouge_l", "bits_per_byte")
BUDGET = ("tokens", "steps")
Objective = tuple[str, str, str]
"""Pre-training stage (``none``: fresh weights), model, precision."""
Question = tuple[str, str, str]
"""Further training, task, metric."""


@dataclass(frozen=True)
class Chain:
    """A group cut in two: what was pre-trained, and how it was trained further."""

    key: Key
    objective: Objective
    further: str


@dataclass(frozen=True)
class Cost:
    """What a pre-training cost: its lines by metric, seconds of its optimiser steps, both ends of its curve."""

    lines: Mapping[str, Line]
    seconds: float
    first: tuple[str, float] | None
    last: tuple[str, float] | None


@dataclass(frozen=True)
class Compared:
    """Objectives, questions that at least two of them answer, the answers, and what each objective cost."""

    objectives: list[Objective] = field(default_factory=list)
    questions: list[Question] = field(default_factory=list)
    answers: Mapping[tuple[Objective, Question], Line] = field(default_factory=dict)
    costs: Mapping[Objective, Cost] = field(default_factory=dict)

    def __bool__(self) -> bool:
        """Whether there is anything to compare: a question, and two objectives that pre-trained."""
        return bool(self.questions) and len({one[:2] for one in self.objectives if one[0] != NONE}) > 1

    def answered(self, question: Question) -> list[tuple[Objective, Line]]:
        """Objectives and their answers to one question."""
        return [(one, self.answers[one, question]) for one in self.objectives if (one, question) in self.answers]


def compared(content: Content) -> Compared:
    """Cut every method behind its pre-training and put together what the same further training made of each."""
    chains = [chain for outcome in content.outcomes if (chain := _cut(outcome.key)) is not None]
    questions = _questions(content, chains)
    costs = {chain.objective: cost for chain in chains if (cost := _cost(content, chain)) is not None}
    objectives = list(dict.fromkeys(chain.objective for chain in chains))
    return Compared(objectives, questions, _answers(content, chains, questions), costs)


def without_budget(objective: Objective) -> Objective:
    """The objective whatever it read: its stage without a budget of its own."""
    try:
        stage = parse(objective[0]).stages[0]
    except UsageError:
        return objective
    kept = tuple(item for item in stage.call.params if item[0] not in BUDGET)
    return (str(Stage(type(stage.call)(stage.call.name, kept), stage.modifiers)), *objective[1:])


def _cut(key: Key) -> Chain | None:
    """Cut a method behind its last pre-training stage; None where nothing follows, or a model was given."""
    try:
        stages = parse(str(key[0])).stages
        groups = [group_of(stage.call.name) for stage in stages]
    except UsageError:
        return None
    pretrained = "pretraining" in groups
    if pretrained:
        end = len(groups) - groups[::-1].index("pretraining")
    else:
        end = next((place for place, stage in enumerate(stages) if not _learns_vocabulary(stage)), len(stages))
    if end in (0, len(stages)):
        return None
    name = str(Method(stages[:end])).rsplit(CHAIN, 1)[-1] if pretrained else NONE
    return Chain(key, (name, str(key[1]), str(key[3])), str(Method(stages[end:])))


def _learns_vocabulary(stage: Stage) -> bool:
    return adapter_class(stage.call.name).gives == {"tokenizer"}


def _questions(content: Content, chains: Iterable[Chain]) -> list[Question]:
    """One metric of each task, of those that at least two objectives have."""
    found: dict[Question, set[Objective]] = {}
    for chain in chains:
        for task in content.tasks:
            having = content.metrics_of(chain.key, task)
            wanted = [name for name in (*ASKED, *SHOWN) if name in having] or sorted(having - OVERHEAD)
            for metric in wanted[:1]:
                found.setdefault((chain.further, task, metric), set()).add(chain.objective)
    return [question for question, objectives in found.items() if len(objectives) > 1]


def _answers(
    content: Content, chains: Iterable[Chain], questions: Iterable[Question]
) -> dict[tuple[Objective, Question], Line]:
    """Lines of the summary, their marks made anew: those of the summary hold within one model."""
    found = {}
    items = content.scores
    for question in questions:
        further, task, metric = question
        same = {
            chain.objective: dict(line) for chain in chains
            if chain.further == further and (line := content.score(chain.key, task, metric)) is not None
        }  # fmt: skip
        choose = min if declared(metric).direction == "lower" else max
        best = choose(same.values(), key=lambda line: line["value"])
        several = sum(is_same(line, best) for line in same.values()) > 1
        for objective, line in same.items():
            tied = is_same(line, best) or is_tied(line, best, items)
            line |= {"best": line is best, "tied": tied, "equal": several and is_same(line, best)}
            found[objective, question] = line
    return found


def _cost(content: Content, chain: Chain) -> Cost | None:
    lines = content.trained(chain.key).get(chain.objective[0], {})
    if chain.objective[0] == NONE or "tokens_per_second" not in lines or "train_tokens" not in lines:
        return None
    first, last = content.curve_ends(lines["optimizer_steps"]["steps"])
    return Cost(lines, lines["train_tokens"]["value"] / lines["tokens_per_second"]["value"], first, last)
