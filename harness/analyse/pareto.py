"""The Pareto set: what no other method beats on both of two metrics."""

from __future__ import annotations

import numpy
import pandas

from harness.metrics import metric as declared


def pareto_set(points: pandas.DataFrame, first: str, second: str) -> pandas.Series:
    """Which of ``points`` (columns named by the two metrics) no other point is better than, as a boolean mask.

    A point is beaten by one that is at least as good on both metrics and better on one. A point with a missing value is
    never in the set. Directions come from the metrics; ``ValueError`` where one has no better side.
    """
    costs = pandas.DataFrame({name: points[name].astype(float) * _sign(name) for name in (first, second)})
    known = numpy.flatnonzero(costs.notna().all(axis=1))
    one, two = (costs[name].to_numpy()[known] for name in (first, second))
    unbeaten = numpy.zeros(len(points), dtype=bool)
    lowest = numpy.inf  # of the second metric, among all that are better on the first
    order = numpy.lexsort((two, one))
    for same in numpy.split(order, numpy.flatnonzero(numpy.diff(one[order])) + 1) if len(order) else ():
        best = two[same].min()
        unbeaten[known[same]] = (two[same] == best) & (best < lowest)
        lowest = min(lowest, best)
    return pandas.Series(unbeaten, index=points.index, dtype=bool)


def _sign(name: str) -> int:
    direction = declared(name).direction
    if direction == "none":
        raise ValueError(f"metric '{name}' has no better side, so no Pareto set")
    return 1 if direction == "lower" else -1
