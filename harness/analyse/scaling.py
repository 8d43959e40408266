"""How a cost grows with a size: the exponent p of value = a + b size^p, and from which size one thing beats another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy

from harness.analyse.statistics import RESAMPLES, Interval

# Exponents beyond these do not occur: the fit looks for p among them.
_EXPONENTS = numpy.linspace(0.0, 3.0, 601)


@dataclass(frozen=True)
class Fit:
    """The exponent p of ``a + b size^p`` and the root mean square of the relative errors of the fit."""

    exponent: float
    error: float


def power_law(sizes: Sequence[float], values: Sequence[float]) -> Fit | None:
    """The least-squares fit of ``a + b size^p`` with a, b >= 0 and relative errors.

    For every p on a grid the other two are a linear problem. Errors are relative, because the largest value would
    otherwise be fitted alone. None for fewer than four sizes, and where the best p is an end of the grid (0 or 3):
    such values follow no power of the size.
    """
    if len(set(sizes)) < 4:
        return None
    x, y = numpy.asarray(sizes, dtype=float), numpy.asarray(values, dtype=float)
    misfits = [_misfit(x, y, power) for power in _EXPONENTS]
    best = int(numpy.argmin(misfits))
    if best in (0, len(_EXPONENTS) - 1):
        return None
    return Fit(float(_EXPONENTS[best]), misfits[best] / len(x) ** 0.5)


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


def begins_to_pay(ratios: Mapping[float, Interval]) -> float | None:
    """The smallest size from which on every ratio's interval lies below 1; None where there is no such size."""
    found = None
    for size in sorted(ratios, reverse=True):
        high = ratios[size].high
        if high is None or high >= 1:
            break
        found = size
    return found


def _misfit(x: numpy.ndarray, y: numpy.ndarray, power: float) -> float:
    """Norm of the relative errors of the best a, b >= 0 at a given power."""
    from scipy.optimize import nnls

    columns = numpy.stack([numpy.ones_like(x), (x / x.max()) ** power], axis=1) / y[:, None]
    return float(nnls(columns, numpy.ones_like(y))[1])
