"""How often one method's answer is preferred to another's, on the same prompts. Pure functions over per-item scores."""

from __future__ import annotations

from collections.abc import Iterable

import pandas

from harness.analyse.statistics import Interval, bootstrap_ratio


def win_rate(pairs: Iterable[tuple[pandas.DataFrame, pandas.DataFrame]]) -> Interval | None:
    """Share of prompts at which the first of each pair has the larger ``amount``, ties counted one half.

    A pair holds the scores of both methods at one seed, by item. A prompt's wins are averaged over the seeds, and the
    interval is over prompts (bootstrap): it holds no spread of training. None where no prompt is in every frame.
    """
    wins = []
    for first, second in pairs:
        shared = first.index.intersection(second.index)
        gap = first.loc[shared, "amount"] - second.loc[shared, "amount"]
        wins.append((gap > 0).astype(float) + 0.5 * (gap == 0))
    if not wins:
        return None
    kept = pandas.concat(wins, axis=1).dropna().mean(axis=1)
    return bootstrap_ratio(kept.tolist(), [1.0] * len(kept)) if len(kept) else None
