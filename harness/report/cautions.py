"""What the opening of a report must say beside its answers: few seeds, and rates whose best lies at the edge."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from harness.analyse.summary import FEWEST_SEEDS
from harness.report.content import Content
from harness.report.outcomes import Key

MOST_NAMED = 3
SET = ("method", "model", "data", "precision", "hardware", "parameter")
OF_TWO = (
    "; two trainings alone cannot tell methods apart, so ties take the spread between seeds from all methods together"
)
OF_ONE = "; another seed may order what was trained once differently"
OF_ONE_ALONE = "; another seed may order them differently"
FEW = {1: "one seed", 2: "two seeds"}


def seeds_in_words(content: Content, compared: Iterable[Key]) -> list[str]:
    """That so few trainings do not tell what another seed would do, where methods of these groups were trained so."""
    seeds = {
        max(lines["optimizer_steps"]["seeds"] for lines in stages.values())
        for key in compared if (stages := content.trained(key))
    }  # fmt: skip
    found = sorted(seeds & FEW.keys())
    if not found or min(seeds) >= FEWEST_SEEDS:
        return []
    some = "Some trained methods" if max(seeds) >= FEWEST_SEEDS else "Trained methods"
    told = " or ".join(FEW[one] for one in found)
    begin = f"{some} have {told}: brackets of their differences are over the test items"
    of_one = {(1,): OF_ONE_ALONE, (1, 2): OF_ONE}.get(tuple(found), "")
    return [f"{begin} of these trainings{OF_TWO if found[-1] == 2 else ''}{of_one}."]


def edges_in_words(content: Content, compared: Iterable[Key]) -> list[str]:
    """Methods of these groups whose best value of a tuned parameter is an end of those that were tried."""
    keys = {(key[0], key[1], key[3]) for key in compared}
    sets: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for trial in content.plan.get("trials") or []:
        if (trial["method"], trial["model"], trial["precision"]) in keys:
            sets.setdefault(tuple(trial[name] for name in SET), []).append(trial)
    found: dict[str, list[str]] = {}
    for key, trials in sets.items():
        if at_the_edge(trials):
            found.setdefault(str(key[-1]), []).append(str(key[0]))
    return [
        f"Best at the edge of the values tried for {parameter}, so that a better one may lie beyond: {few(methods)}."
        for parameter, methods in found.items()
    ]


def at_the_edge(trials: Iterable[Mapping[str, Any]]) -> bool:
    """Whether the smallest or the largest of the values that were tried was chosen."""
    ordered = sorted(trials, key=lambda trial: trial["value"])
    return len(ordered) > 1 and bool(ordered[0]["chosen"] or ordered[-1]["chosen"])


def few(names: Iterable[str]) -> str:
    """The first of several names, each once, and how many more there are."""
    told = list(dict.fromkeys(names))
    more = f" and {len(told) - MOST_NAMED} more" if len(told) > MOST_NAMED else ""
    return f"{', '.join(told[:MOST_NAMED])}{more}"
