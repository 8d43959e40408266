"""Whether fine-tuning methods rank the same wherever they were compared: on several models, of several tasks."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

from harness.analyse.summary import Line, is_same, is_tied, spread_of_seeds
from harness.catalogue import group_of
from harness.errors import UsageError
from harness.metrics import metric as declared
from harness.plan.expression import parse
from harness.report.cautions import few
from harness.report.content import Content
from harness.report.floors import clears, floor_of
from harness.report.forgetting import general_task
from harness.report.outcomes import Key

GROUP = "finetuning"
ASKED = ("classification_accuracy", "choice_accuracy", "rouge_l", "bits_per_byte")
FEWEST = 3  # methods that have an order worth comparing
Pair = tuple[str, str]


@dataclass(frozen=True)
class Ranking:
    """One metric of the same task, model, data, precision and hardware by technique."""

    where: str
    model: str
    lines: dict[str, Line]

    def ahead(self, pair: Pair, content: Content) -> str | None:
        """Which of two is better; None where they are not told apart."""
        one, other = (self.lines[name] for name in pair)
        spread = spread_of_seeds(list(self.lines.values()))
        if is_same(one, other) or is_tied(one, other, content.scores, spread):
            return None
        lower = declared(one["metric"]).direction == "lower"
        return pair[0] if (one["value"] < other["value"]) is lower else pair[1]


def rankings_in_words(content: Content) -> list[str]:
    """One sentence where three fine-tuning methods were compared on two models or more."""
    found = [one for one in _rankings(content) if len(one.lines) >= FEWEST]
    shared = set.intersection(*(set(one.lines) for one in found)) if found else set()
    if len({one.model for one in found}) < 2 or len(shared) < FEWEST:
        return []
    useful = [one for one in found if _says_something(content, one)]
    silent = [one.where for one in found if one not in useful]
    places = ", ".join(one.where for one in found)
    why = "no method there beats answering without learning, or some give the very same score"
    without = f"; {' and '.join(silent)} ranks nothing: {why}"
    said = f"{_compared(content, useful, sorted(shared))}{without if silent else ''}"
    return [f"Ranking of {', '.join(sorted(shared))} ({places}): {said}."]


def _compared(content: Content, useful: list[Ranking], shared: list[str]) -> str:
    orders = {pair: [one.ahead(pair, content) for one in useful] for pair in combinations(shared, 2)}
    told = {pair: {name for name in order if name} for pair, order in orders.items()
            if sum(name is not None for name in order) > 1}  # fmt: skip
    if not told:
        return f"cannot be told to be the same or not, as none of {len(orders)} pairs is told apart in two places"
    turned = [f"{first} and {second}" for (first, second), names in told.items() if len(names) > 1]
    same = [f"{next(iter(names))} before {next(name for name in pair if name not in names)}"
            for pair, names in told.items() if len(names) == 1]  # fmt: skip
    named = (("not the same for", turned), ("the same for", same))
    parts = [f"{words} {few(names)}" for words, names in named if names]
    pairs = f"{len(told)} of {len(orders)} pairs {'is' if len(told) == 1 else 'are'} told apart in two places or more"
    return f"{pairs}: {'; '.join(parts)}"


def _says_something(content: Content, one: Ranking) -> bool:
    """Whether some method beats its floor, and no two have the very same score: such answer alike whatever is asked."""
    if any(is_same(first, second) for first, second in combinations(one.lines.values(), 2)):
        return False
    floors = [(line, floor) for line in one.lines.values() if (floor := floor_of(content, line)) is not None]
    return not floors or any(clears(content, line, floor) for line, floor in floors)


def _rankings(content: Content) -> list[Ranking]:
    general = general_task(content)
    found: dict[tuple[str, Key, str], dict[str, list[Line]]] = {}
    for task in (task for task in content.tasks if task != general):
        for outcome in content.outcomes:
            name = _technique(str(outcome.key[0]))
            metric = next((one for one in ASKED if one in content.metrics_of(outcome.key, task)), None)
            if name is None or metric is None:
                continue
            line = content.score(outcome.key, task, metric)
            if line is not None:
                found.setdefault((task, outcome.key[1:], metric), {}).setdefault(name, []).append(line)
    return [
        Ranking(f"{task} on {key[0]}", str(key[0]), {name: lines[0] for name, lines in by.items() if len(lines) == 1})
        for (task, key, _), by in found.items()
    ]


def _technique(method: str) -> str | None:
    """The name of the last stage where that fine-tunes and nothing modifies it."""
    try:
        stage = parse(method).stages[-1]
        return stage.call.name if group_of(stage.call.name) == GROUP and not stage.modifiers else None
    except UsageError:
        return None
