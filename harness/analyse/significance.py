"""Whether two sides of pairs of runs differ: exact rank tests, Holm's correction, what could have been found at all.

Pure functions of plain differences; of ratios they are the logarithms. The estimate is the Hodges-Lehmann shift and
not the mean: a run that met a busy neighbour moves the mean by its share of the excess and this hardly, and its
interval is the set of shifts that the same rank test does not reject, so that the two never contradict each other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

import numpy

from harness.analyse.statistics import LEVEL, Interval

Alternative = Literal["two-sided", "greater", "less"]
POWER = 0.8
TRIMMED = 0.1  # share of the pairs at each end that a single outlier may spoil


def signed_rank(differences: Sequence[float], alternative: Alternative = "two-sided") -> float:
    """Exact p-value of Wilcoxon's signed-rank test that the differences lie around 0.

    ``greater`` asks whether they lie above. Zeros are left out, as Wilcoxon does; ties share their mean rank, and the
    distribution is that of all signs given these ranks. Without any difference it is 1.
    """
    values = numpy.asarray(differences, dtype=float)
    values = values[values != 0]
    if not len(values):
        return 1.0
    doubled = _doubled_ranks(numpy.abs(values))
    below = _cumulative(tuple(sorted(doubled.tolist())))
    total, positive = int(doubled.sum()), int(doubled[values > 0].sum())
    least, most = float(below[positive]), float(below[total - positive])
    if alternative == "two-sided":
        return min(1.0, 2 * min(least, most))
    return most if alternative == "greater" else least


def holm(probabilities: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values of a family, in its order."""
    family = numpy.asarray(probabilities, dtype=float)
    order = numpy.argsort(family, kind="stable")
    factors = len(family) - numpy.arange(len(family))
    adjusted = numpy.empty(len(family))
    adjusted[order] = numpy.minimum(1.0, numpy.maximum.accumulate(factors * family[order]))
    return [float(value) for value in adjusted]


def shift(differences: Sequence[float], level: float = LEVEL) -> Interval | None:
    """The Hodges-Lehmann shift (median of all pairwise means) with the interval of the signed-rank test.

    No interval where even the widest one holds the shift less often than ``level`` (fewer than 6 pairs at 95 %); None
    for no pair.
    """
    values = numpy.asarray(differences, dtype=float)
    if not len(values):
        return None
    first, second = numpy.triu_indices(len(values))
    means = numpy.sort((values[first] + values[second]) / 2)
    estimate = float(numpy.median(means))
    below = _cumulative(tuple(range(2, 2 * len(values) + 1, 2)))[::2]
    outside = int((below <= (1 - level) / 2).sum())
    if not outside:
        return Interval(estimate, None, None, len(values), "repeats")
    return Interval(estimate, float(means[outside - 1]), float(means[-outside]), len(values), "repeats")


def detectable(error: float, freedom: float = math.inf, level: float = LEVEL) -> float:
    """The smallest detectable change of an estimate with a standard error: what a test at this one-sided level finds in
    8 of 10 cases. (t(level) + t(80 %)) times the error, with Student's t of ``freedom`` or the normal distribution.

    Everything here that states what could have been found calls it. What counts as news (3 % of a time) is asked apart.
    """
    from scipy.special import stdtrit

    return float(stdtrit(freedom, level) + stdtrit(freedom, POWER)) * error


def smallest_detectable(differences: Sequence[float], level: float = LEVEL) -> float | None:
    """The smallest detectable change of paired differences; None below two pairs.

    The error is that of the mean, with ten pairs or more that of the trimmed mean (Tukey and McLaughlin 1963, a tenth
    winsorised at each end), or one bad run in twenty would make every comparison blind.
    """
    values = numpy.sort(numpy.asarray(differences, dtype=float))
    if len(values) < 2:
        return None
    cut = int(TRIMMED * len(values))
    kept = numpy.clip(values, values[cut], values[len(values) - 1 - cut])
    error = float(kept.std(ddof=1)) / ((1 - 2 * cut / len(values)) * len(values) ** 0.5)
    return detectable(error, len(values) - 2 * cut - 1, level)


def _doubled_ranks(sizes: numpy.ndarray) -> numpy.ndarray:
    """Twice the mean rank of each size, which is whole."""
    ordered = numpy.sort(sizes)
    low, high = (numpy.searchsorted(ordered, sizes, side=side) for side in ("left", "right"))
    return low + high + 1


@lru_cache(maxsize=256)
def _cumulative(ranks: tuple[int, ...]) -> numpy.ndarray:
    """P(sum of the ranks with a positive sign <= s) for every s, when each sign is a fair coin."""
    chances = numpy.zeros(sum(ranks) + 1)
    chances[0] = 1.0
    for rank in ranks:
        chances[rank:] = (chances[rank:] + chances[: len(chances) - rank]) / 2
        chances[:rank] /= 2
    return numpy.cumsum(chances)
