"""Learning curves at equal seconds: what each run had reached when the first of them ended. Pure functions."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

Curve = Sequence[tuple[float, float]]
"""(seconds, value) of one run, seconds rising."""


def common_seconds(curves: Iterable[Curve]) -> float | None:
    """The longest time that every run has reached: the shortest run's end; None without a curve."""
    ends = [curve[-1][0] for curve in curves if curve]
    return min(ends) if ends else None


def value_at(curve: Curve, seconds: float) -> float | None:
    """Value of ``curve`` at ``seconds``, on the straight line between its neighbouring points; None outside of it."""
    for (before, first), (after, last) in itertools.pairwise(curve):
        if before <= seconds <= after:
            share = (seconds - before) / (after - before) if after > before else 1.0
            return first + share * (last - first)
    return curve[0][1] if len(curve) == 1 and curve[0][0] == seconds else None
