"""Statistics of samples: pure functions, seeded where they draw, of plain sequences and arrays.

Everything between rows and a printed interval goes through here. Missing values are left out by the caller; an empty
sample gives None, never 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy

Kind = Literal["seeds", "items", "repeats"]
RESAMPLES = 2000
LEVEL = 0.95
_MANY = 1000
_MAX_DRAWS = 20_000_000


@dataclass(frozen=True)
class Interval:
    """An estimate of ``n`` values; ``low`` and ``high`` are None where the values cannot tell (a single one)."""

    estimate: float
    low: float | None
    high: float | None
    n: int
    kind: Kind

    def contains(self, value: float) -> bool | None:
        """Whether ``value`` lies in the interval; None where there is no interval."""
        if self.low is None or self.high is None:
            return None
        return self.low <= value <= self.high


@dataclass(frozen=True)
class Percentiles:
    """Summary of raw samples; ``std`` (n - 1 in the denominator) is None for a single sample."""

    n: int
    mean: float
    std: float | None
    median: float
    p90: float
    p95: float
    p99: float
    lowest: float
    highest: float


def mean_interval(values: Sequence[float], level: float = LEVEL) -> Interval | None:
    """Mean over seeds with Student's t interval; no interval for one value, None for none."""
    sample = numpy.asarray(values, dtype=float)
    if not len(sample):
        return None
    mean = float(sample.mean())
    if len(sample) == 1:
        return Interval(mean, None, None, 1, "seeds")
    half = t_quantile(level, len(sample) - 1) * float(sample.std(ddof=1)) / len(sample) ** 0.5
    return Interval(mean, mean - half, mean + half, len(sample), "seeds")


def bootstrap_median(values: Sequence[float], seed: int = 0, level: float = LEVEL) -> Interval | None:
    """Median of repeated measurements with its percentile-bootstrap interval.

    Above ``_MANY`` samples that interval's limit is used: the order statistics at n/2 -+ z sqrt(n)/2.
    """
    sample = numpy.asarray(values, dtype=float)
    if not len(sample):
        return None
    if len(sample) == 1:
        return Interval(float(sample[0]), None, None, 1, "repeats")
    if len(sample) > _MANY:
        low, high = _order_statistics(numpy.sort(sample), level)
    else:
        generator = numpy.random.default_rng(seed)
        draws = numpy.median(sample[generator.integers(0, len(sample), (RESAMPLES, len(sample)))], axis=1)
        low, high = _tails(draws, level)
    return Interval(float(numpy.median(sample)), low, high, len(sample), "repeats")


def bootstrap_ratio(
    amounts: Sequence[float], weights: Sequence[float] | None = None, seed: int = 0, level: float = LEVEL
) -> Interval | None:
    """sum(amounts) / sum(weights) with its bootstrap interval over items; plain mean where no weights are given.

    The loss per token of windows of unequal length is such a ratio. The same seed and number of items draw the same
    items, so intervals of two methods on one item set are comparable.
    """
    above = numpy.asarray(amounts, dtype=float)
    below = numpy.ones(len(above)) if weights is None else numpy.asarray(weights, dtype=float)
    if not len(above) or below.sum() == 0:
        return None
    estimate = float(above.sum() / below.sum())
    if len(above) == 1:
        return Interval(estimate, None, None, 1, "items")
    counts = _draws(len(above), seed)
    sums = counts @ below
    low, high = _tails((counts @ above)[sums > 0] / sums[sums > 0], level)
    return Interval(estimate, low, high, len(above), "items")


def paired_difference(
    first: Sequence[float],
    second: Sequence[float],
    weights: Sequence[float] | None = None,
    seed: int = 0,
    level: float = LEVEL,
) -> Interval | None:
    """first - second over the same items, as sum of differences over sum of weights, with its bootstrap interval.

    ``ValueError`` where the two are not equally long: an unpaired comparison of the same items is a defect.
    """
    if len(first) != len(second):
        raise ValueError(f"paired comparison of {len(first)} with {len(second)} items")
    change = numpy.asarray(first, dtype=float) - numpy.asarray(second, dtype=float)
    return bootstrap_ratio(change.tolist(), weights, seed, level)


def paired_ratio_difference(
    first: tuple[Sequence[float], Sequence[float]],
    second: tuple[Sequence[float], Sequence[float]],
    seed: int = 0,
    level: float = LEVEL,
) -> Interval | None:
    """Difference of two ratios of sums over the same items, each with weights of its own, with its bootstrap interval.

    ``first`` and ``second`` are (amounts, weights): the tokens that two tokenizers need for the same sentences.
    ``ValueError`` where the two are not equally long.
    """
    (above, below), (other_above, other_below) = (
        tuple(numpy.asarray(values, dtype=float) for values in pair) for pair in (first, second)
    )
    if len(above) != len(other_above):
        raise ValueError(f"paired comparison of {len(above)} with {len(other_above)} items")
    if not len(above) or below.sum() == 0 or other_below.sum() == 0:
        return None
    estimate = float(above.sum() / below.sum() - other_above.sum() / other_below.sum())
    if len(above) == 1:
        return Interval(estimate, None, None, 1, "items")
    counts = _draws(len(above), seed)
    sums, other_sums = counts @ below, counts @ other_below
    whole = (sums > 0) & (other_sums > 0)
    draws = (counts @ above)[whole] / sums[whole] - (counts @ other_above)[whole] / other_sums[whole]
    low, high = _tails(draws, level)
    return Interval(estimate, low, high, len(above), "items")


def ratio_of_means(
    first: tuple[Sequence[float], Sequence[float]], second: tuple[Sequence[float], Sequence[float]], seed: int = 0,
    level: float = LEVEL,
) -> Interval | None:  # fmt: skip
    """Ratio of two weighted means (amounts, weights) over the same items, with its paired bootstrap interval.

    None where the second mean is not positive, in the sample or in a draw of it.
    """
    above, below = (numpy.asarray(part, dtype=float) for part in first)
    other_above, other_below = (numpy.asarray(part, dtype=float) for part in second)
    if not len(above) or below.sum() == 0 or other_below.sum() == 0 or other_above.sum() <= 0:
        return None
    estimate = float(above.sum() / below.sum() / (other_above.sum() / other_below.sum()))
    if len(above) == 1:
        return Interval(estimate, None, None, 1, "items")
    counts = _draws(len(above), seed)
    sums, other_sums, other_amounts = counts @ below, counts @ other_below, counts @ other_above
    whole = (sums > 0) & (other_sums > 0) & (other_amounts > 0)
    draws = (counts @ above)[whole] / sums[whole] * other_sums[whole] / other_amounts[whole]
    low, high = _tails(draws, level)
    return Interval(estimate, low, high, len(above), "items")


def mcnemar(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Exact two-sided p-value that two methods are right equally often on the same items; None if they never differ."""
    from scipy.special import bdtr

    if len(first) != len(second):
        raise ValueError(f"paired comparison of {len(first)} with {len(second)} items")
    right, other = numpy.asarray(first, dtype=float) > 0.5, numpy.asarray(second, dtype=float) > 0.5
    gained, lost = int((right & ~other).sum()), int((~right & other).sum())
    if not gained + lost:
        return None
    return min(1.0, 2 * float(bdtr(min(gained, lost), gained + lost, 0.5)))


def percentiles(values: Sequence[float] | Any) -> Percentiles | None:
    """Median, p90, p95, p99, std of raw samples; None for none."""
    sample = numpy.asarray(values, dtype=float)
    if not len(sample):
        return None
    median, p90, p95, p99 = (float(value) for value in numpy.percentile(sample, (50, 90, 95, 99)))
    std = float(sample.std(ddof=1)) if len(sample) > 1 else None
    return Percentiles(
        len(sample), float(sample.mean()), std, median, p90, p95, p99, float(sample.min()), float(sample.max())
    )


def t_quantile(level: float, freedom: int) -> float:
    """Student's quantile that bounds ``level`` of the distribution on both sides."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, 0.5 + level / 2))


def _order_statistics(ordered: numpy.ndarray, level: float) -> tuple[float, float]:
    from scipy.special import ndtri

    half = float(ndtri(0.5 + level / 2)) * len(ordered) ** 0.5 / 2
    low, high = int(len(ordered) / 2 - half), min(len(ordered) - 1, int(numpy.ceil(len(ordered) / 2 + half)))
    return float(ordered[low]), float(ordered[high])


def _tails(draws: numpy.ndarray, level: float) -> tuple[float, float]:
    low, high = numpy.percentile(draws, (50 * (1 - level), 50 * (1 + level)))
    return float(low), float(high)


@lru_cache(maxsize=8)
def _draws(items: int, seed: int) -> numpy.ndarray:
    """How often each item is drawn in each resample: float64 [resamples, items]."""
    resamples = min(RESAMPLES, max(200, _MAX_DRAWS // items))
    generator = numpy.random.default_rng(seed)
    return generator.multinomial(items, numpy.full(items, 1 / items), size=resamples).astype(float)
