"""Quality over bits: what plain rounding reaches at any number of bits, by which a clever method is judged. Pure."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence

Point = tuple[float, float]
"""(bits per weight, divergence)."""


def frontier(points: Iterable[Point]) -> list[Point]:
    """The points that no other one beats: ever more bits, ever less divergence."""
    found: list[Point] = []
    for bits, divergence in sorted(points):
        if not found or divergence < found[-1][1]:
            found.append((bits, divergence))
    return found


def divergence_at(front: Sequence[Point], bits: float) -> float | None:
    """Divergence of a frontier at so many bits, its logarithm interpolated; None where the frontier does not reach."""
    for (fewer, high), (more, low) in itertools.pairwise(front):
        if fewer <= bits <= more and low > 0:
            share = (bits - fewer) / (more - fewer)
            return math.exp((1 - share) * math.log(high) + share * math.log(low))
    return None
