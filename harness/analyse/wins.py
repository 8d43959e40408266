"""How often one method's answer is preferred to another's, on the same prompts. Pure functions over per-item scores."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas

from harness.analyse.item_scores import ItemScores
from harness.analyse.statistics import Interval, bootstrap_ratio, mean_interval

Scores = tuple[pandas.DataFrame, pandas.DataFrame]


def scores_by_seed(
    scores: ItemScores, metric: str, own: Mapping[Any, str], theirs: Mapping[Any, str]
) -> dict[Any, Scores]:
    """Both sides' scores of a metric at each seed that both have; a side is its steps by seed."""
    found = {}
    for seed, step in own.items():
        if seed in theirs:
            first, second = (scores.scores(metric, [each]) for each in (step, theirs[seed]))
            if first is not None and second is not None:
                found[seed] = (first, second)
    return found


def win_rate(pairs: Iterable[Scores], among: Sequence[pandas.Index] | None = None) -> Interval | None:
    """Share of prompts at which the first of each pair has the larger ``amount``, ties counted one half.

    A pair holds the scores of both methods at one seed, by item; ``among`` are the items of each pair that count. A
    prompt's wins are averaged over the seeds that have it. The interval is the wider one of that over prompts
    (bootstrap) and, from two seeds on, that over seeds (Student's t), which holds the spread of training. None where no
    prompt counts.
    """
    wins = []
    for number, (first, second) in enumerate(pairs):
        shared = first.index.intersection(second.index)
        if among is not None:
            shared = shared.intersection(among[number])
        gap = first.loc[shared, "amount"] - second.loc[shared, "amount"]
        wins.append((gap > 0).astype(float) + 0.5 * (gap == 0))
    kept = pandas.concat(wins, axis=1).mean(axis=1).dropna() if wins else pandas.Series(dtype=float)
    found = bootstrap_ratio(kept.tolist(), [1.0] * len(kept)) if len(kept) else None
    over_seeds = mean_interval([float(one.mean()) for one in wins if len(one)])
    if found is None or over_seeds is None:
        return found
    return wider(found, over_seeds, 0.0, 1.0)


def wider(found: Interval, other: Interval, least: float = float("-inf"), most: float = float("inf")) -> Interval:
    """``found`` with an interval that holds both, within ``least`` and ``most``; as it is where one has no interval."""
    if found.low is None or found.high is None or other.low is None or other.high is None:
        return found
    low, high = max(least, min(found.low, other.low)), min(most, max(found.high, other.high))
    return Interval(found.estimate, low, high, found.n, found.kind)
