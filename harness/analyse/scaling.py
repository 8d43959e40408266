"""How a cost grows with a size: the exponent p of value = a + b size^p, and from which size one thing beats another."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy

from harness.analyse.statistics import LEVEL, RESAMPLES, Interval, mean_interval

LINEAR = 0.25  # how far from 1 an exponent may be that is called about linear
EXACT = 1e-9  # a misfit below this is that of the arithmetic
_FITTED = 3  # a, b and p
# Exponents beyond these do not occur: the fit looks for p among them.
MOST = 3.0
_EXPONENTS = numpy.linspace(0.0, MOST, 601)


@dataclass(frozen=True)
class Fit:
    """The exponent p of ``a + b size^p`` and the root mean square of the relative errors of the fit.

    ``low`` to ``high``: the exponents that the values do not rule out at 95 % confidence. An end of the grid (0 or 3)
    is no bound.
    """

    exponent: float
    error: float
    low: float
    high: float

    def against_linear(self) -> str:
        """Whether the growing part is linear, in words."""
        if self.low > 1:
            return "faster than linear"
        if self.high < 1:
            return "slower than linear"
        return "about linear" if self.low >= 1 - LINEAR and self.high <= 1 + LINEAR else "cannot be told"


def power_law(sizes: Sequence[float], values: Sequence[float]) -> Fit | None:
    """The least-squares fit of ``a + b size^p`` with a, b >= 0 and relative errors.

    For every p on a grid the other two are a linear problem. Errors are relative, because the largest value would
    otherwise be fitted alone. None for fewer than four sizes, and where the best p is an end of the grid (0 or 3):
    such values follow no power of the size.

    An exponent is not ruled out where the squared misfit with it is no more than ``_allowed`` times the least one.
    """
    if len(set(sizes)) < 4:
        return None
    x, y = numpy.asarray(sizes, dtype=float), numpy.asarray(values, dtype=float)
    misfits = [_misfit(x, y, power) for power in _EXPONENTS]
    best = int(numpy.argmin(misfits))
    if best in (0, len(_EXPONENTS) - 1):
        return None
    kept = _EXPONENTS[numpy.asarray(misfits) <= max(misfits[best], EXACT) * _allowed(len(x)) ** 0.5]
    return Fit(float(_EXPONENTS[best]), misfits[best] / len(x) ** 0.5, float(kept[0]), float(kept[-1]))


def ratio_of_medians(
    first: Sequence[float], second: Sequence[float], seed: int = 0, level: float = 0.95
) -> Interval | None:
    """median(first) / median(second) with a bootstrap interval over the samples of each, drawn apart."""
    one, other = numpy.asarray(first, dtype=float), numpy.asarray(second, dtype=float)
    if len(one) < 2 or len(other) < 2:
        return None
    generator = numpy.random.default_rng(seed)
    draws = [
        numpy.median(sample[generator.integers(0, len(sample), (RESAMPLES, len(sample)))], axis=1)
        for sample in (one, other)
    ]
    low, high = numpy.percentile(draws[0] / draws[1], (50 * (1 - level), 50 * (1 + level)))
    return Interval(float(numpy.median(one) / numpy.median(other)), float(low), float(high), len(one), "repeats")


def with_noise(found: Interval, runs: int, share: float) -> Interval:
    """A ratio of times of ``runs`` runs each, its interval widened by what runs of the same thing differ by.

    Two standard errors of that noise and the interval's own half width add as squares, on the scale of logarithms.
    """
    if found.low is None or found.high is None or found.low <= 0:
        return found
    middle, noise = math.log(found.estimate), 2 * share * math.sqrt(2 / runs)
    low, high = (math.hypot(middle - math.log(end), noise) for end in (found.low, found.high))
    return replace(found, low=math.exp(middle - low), high=math.exp(middle + high))


def ratio_over_seeds(ratios: Sequence[float]) -> Interval | None:
    """Geometric mean of ratios of one seed each with Student's interval."""
    found = mean_interval([math.log(one) for one in ratios])
    if found is None or found.low is None or found.high is None:
        return None
    return Interval(math.exp(found.estimate), math.exp(found.low), math.exp(found.high), found.n, "seeds")


def begins_to_pay(ratios: Mapping[float, Interval]) -> float | None:
    """The smallest size from which on every ratio's interval lies below 1; None where there is no such size."""
    found = None
    for size in sorted(ratios, reverse=True):
        high = ratios[size].high
        if high is None or high >= 1:
            break
        found = size
    return found


def _allowed(sizes: int) -> float:
    """By what the least squared misfit may grow with an exponent that is not ruled out: the F test of one parameter.

    Errors are taken to be alike and independent, with as many degrees of freedom as there are sizes beyond the fit's.
    """
    from scipy.special import fdtri

    freedom = sizes - _FITTED
    return 1 + float(fdtri(1, freedom, LEVEL)) / freedom


def _misfit(x: numpy.ndarray, y: numpy.ndarray, power: float) -> float:
    """Norm of the relative errors of the best a, b >= 0 at a given power."""
    from scipy.optimize import nnls

    columns = numpy.stack([numpy.ones_like(x), (x / x.max()) ** power], axis=1) / y[:, None]
    return float(nnls(columns, numpy.ones_like(y))[1])
