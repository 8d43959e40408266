"""The Pareto set: what no other method beats on both of two metrics."""

from __future__ import annotations

import pandas

from harness.metrics import metric as declared


def pareto_set(points: pandas.DataFrame, first: str, second: str) -> pandas.Series:
    """Which of ``points`` (columns named by the two metrics) no other point is better than, as a boolean mask.

    A point is beaten by one that is at least as good on both metrics and better on one. A point with a missing value is
    never in the set. Directions come from the metrics; ``ValueError`` where one has no better side.
    """
    costs = pandas.DataFrame({name: points[name].astype(float) * _sign(name) for name in (first, second)})
    unbeaten = []
    for _, point in costs.iterrows():
        no_worse, better = (costs <= point).all(axis=1), (costs < point).any(axis=1)
        unbeaten.append(bool(point.notna().all() and not (no_worse & better).any()))
    return pandas.Series(unbeaten, index=points.index, dtype=bool)


def _sign(name: str) -> int:
    direction = declared(name).direction
    if direction == "none":
        raise ValueError(f"metric '{name}' has no better side, so no Pareto set")
    return 1 if direction == "lower" else -1
