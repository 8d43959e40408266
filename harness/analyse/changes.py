"""Where a series of nights changed its level: change points that single outliers and a drifting machine do not make.

The series is split where the ranks on both sides differ most (the largest standardised Mann-Whitney statistic over all
splits), the split is believed where ranks in random order would give as much with a probability below ``ALPHA``, and
where the medians on both sides differ by more than counts; then both parts are searched in the same way, and in the end
every change is tested again between its neighbours. Neighbouring nights resemble each other, which ranks in random
order do not: the correlation of a night with the next one is estimated around the best split and taken out first
(prewhitening, as Yue and Wang 2002 do before Pettitt's test, which is this statistic without its standardisation).

The probabilities are those of permutations, drawn once by ``scripts/rank_split_null.py`` and kept as a table.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy

ALPHA = 0.001
FEWEST = 4  # values on each side of a change
SHORTEST = 2 * FEWEST
SHORTEST_STRETCH = 16
SHARE_OF_STRETCHES = 0.5  # by simulation: stretches overlap, and few of them differ by what counts
MAD = 1.4826  # of a normal distribution, standard deviation over median absolute deviation
OUTLIER = 3.0
MOST_CORRELATED = 0.95
SMALL = 18  # up to so many values perfect order has a probability that the table holds
Counts = Callable[[float, float], bool]
Values = Sequence[float] | numpy.ndarray


@dataclass(frozen=True)
class Change:
    """A new level: ``at`` is the index of its first value; ``before`` and ``after`` are the medians on both sides up to
    the next change; ``p`` is the permutation test's probability, 0 where values are exact.
    """

    at: int
    before: float
    after: float
    p: float


def changes(values: Values, counts: Counts, *, alpha: float = ALPHA) -> list[Change]:
    """Every change of level of a noisy series, in order; ``counts(before, after)`` says which differences are news."""
    series = numpy.asarray(values, dtype=float)
    found: list[int] = []
    _search(series, 0, len(series), counts, alpha, found)
    return _confirmed(series, sorted(found), counts, alpha)


def exact_changes(values: Sequence[float], counts: Counts) -> list[Change]:
    """Every change of a series that repeats to the bit where nothing changed: each value that differs enough."""
    starts, level = [], None
    for index, value in enumerate(values):
        if level is None or counts(level, value):
            starts.append(index)
            level = value
    ends = [*starts[1:], len(values)] if starts else []
    levels = [float(numpy.median(values[start:end])) for start, end in zip(starts, ends, strict=True)]
    return [Change(starts[place], levels[place - 1], levels[place], 0.0) for place in range(1, len(starts))]


def repeats_exactly(values: Sequence[float]) -> bool:
    """Whether a value is mostly followed by the very same one, as numbers are that nothing random enters.

    Of three and more the last one is not asked: it may be the first that differs.
    """
    series = numpy.asarray(values[:-1] if len(values) > 2 else values, dtype=float)
    return len(series) > 1 and float(numpy.median(numpy.abs(numpy.diff(series)))) == 0.0


def noise(values: Sequence[float], starts: Sequence[int] = ()) -> float:
    """Robust standard deviation of a series around the levels that begin at ``starts``."""
    series = numpy.asarray(values, dtype=float)
    bounds = [0, *starts, len(series)]
    rest = [series[low:high] - numpy.median(series[low:high]) for low, high in itertools.pairwise(bounds)]
    joined = numpy.concatenate(rest) if rest else series
    return MAD * float(numpy.median(numpy.abs(joined))) if len(joined) else 0.0


def _search(series: numpy.ndarray, low: int, high: int, counts: Counts, alpha: float, found: list[int]) -> None:
    at = _split(series[low:high], counts, alpha)
    if at is None:
        return
    found.append(low + at)
    _search(series, low, low + at, counts, alpha, found)
    _search(series, low + at, high, counts, alpha, found)


def _confirmed(series: numpy.ndarray, starts: list[int], counts: Counts, alpha: float) -> list[Change]:
    """The changes that are still there between their neighbours alone; the least certain is dropped first."""
    while starts:
        bounds = [0, *starts, len(series)]
        tested = []
        for low, at, high in zip(bounds, bounds[1:], bounds[2:], strict=False):
            before, after = (float(numpy.median(series[part])) for part in (slice(low, at), slice(at, high)))
            p = _probability(series[low:high], at - low) if counts(before, after) else 1.0
            tested.append(Change(at, before, after, p))
        weakest = max(tested, key=lambda change: change.p)
        if weakest.p <= alpha:
            return tested
        starts = [at for at in starts if at != weakest.at]
    return []


def _split(series: numpy.ndarray, counts: Counts, alpha: float) -> int | None:
    """Where to split a part; None where there is nothing to believe.

    A slow-down that was mended leaves both ends alike and no split of the whole: then shorter stretches are looked at,
    at half the probability, and the surest split is taken.
    """
    at, p = _tested(series, counts)
    if p <= alpha:
        return at
    stretches = _stretches(len(series))
    tested = [(p, low + at) for low, high in stretches for at, p in (_tested(series[low:high], counts),)]
    p, at = min(tested, default=(1.0, 0))
    return at if p <= SHARE_OF_STRETCHES * alpha else None


def _tested(series: numpy.ndarray, counts: Counts) -> tuple[int, float]:
    """The best split of a stretch, and its probability; 1 where the difference does not count."""
    if len(series) < SHORTEST:
        return 0, 1.0
    at, _ = _largest(series)
    if not counts(float(numpy.median(series[:at])), float(numpy.median(series[at:]))):
        return at, 1.0
    return at, _probability(series, at)


@cache
def _stretches(count: int) -> tuple[tuple[int, int], ...]:
    """Overlapping stretches of a series, half a length apart, each length the one before over the root of two (seeded
    binary segmentation, Kovács et al. 2023, doi:10.1093/biomet/asac052).
    """
    found, length = [], count / math.sqrt(2)
    while length >= SHORTEST_STRETCH:
        steps = math.ceil(2 * (count - length) / length)
        found += [(round(low), round(low + length)) for low in numpy.linspace(0, count - length, steps + 1)]
        length /= math.sqrt(2)
    return tuple(found)


def _probability(series: numpy.ndarray, at: int) -> float:
    """How likely ranks in random order would split so well; the series is freed of its correlation around ``at``."""
    correlation = _correlation(series, at)
    tested = series if correlation == 0.0 else series[1:] - correlation * series[:-1]
    if len(tested) < SHORTEST:
        return 1.0
    _, score = _largest(tested)
    return tail(score, len(tested))


def _largest(series: numpy.ndarray) -> tuple[int, float]:
    """The split with the largest standardised difference of ranks (how many values lie before it), and that score."""
    count = len(series)
    ranks = _ranks(series)
    spread = float(ranks.var())
    if spread == 0.0:
        return count // 2, 0.0
    before = numpy.arange(FEWEST, count - FEWEST + 1)
    sums = numpy.cumsum(ranks)[before - 1]
    scores = numpy.abs(sums - before * ranks.mean()) / numpy.sqrt(before * (count - before) / (count - 1) * spread)
    best = int(scores.argmax())
    return int(before[best]), float(scores[best])


def _ranks(series: numpy.ndarray) -> numpy.ndarray:
    """Ranks from 1, equal values sharing their mean."""
    ordered, place, count = numpy.unique(series, return_inverse=True, return_counts=True)
    del ordered
    last = numpy.cumsum(count)
    return (last - (count - 1) / 2)[place]


def _correlation(series: numpy.ndarray, at: int) -> float:
    """Correlation of a value with the next one around the levels before and after ``at``; 0 where it may be chance.

    Outliers are drawn in first. Splitting where the series splits best takes (4 + 8 r) / n from the estimate (found by
    simulation; a single known level takes (1 + 3 r) / n, Kendall 1954), which is given back, and 4 / n more: nights
    taken for independent raise false alarms, nights taken for more alike than they are cost a night or two.
    """
    rest = numpy.concatenate([series[:at] - numpy.median(series[:at]), series[at:] - numpy.median(series[at:])])
    count, scale = len(rest), MAD * float(numpy.median(numpy.abs(rest)))
    if scale == 0.0:
        return 0.0
    rest = numpy.clip(rest, -OUTLIER * scale, OUTLIER * scale)
    found = float((rest[1:] * rest[:-1]).sum() / (rest**2).sum())
    careful = found + (4 + 8 * found) / count + 4 / count
    return 0.0 if careful < 0.5 / math.sqrt(count) else min(careful, MOST_CORRELATED)


def tail(score: float, count: int) -> float:
    """Probability that the largest standardised difference of ``count`` values in random order is ``score`` or more.

    Between the probabilities of the table by straight lines in their logarithm; beyond its last one by the last line,
    as the tail of a normal distribution falls faster. A count that the table lacks takes the next larger one, whose
    scores are larger.
    """
    counts, rows = _null()
    scores, logs = rows[min(int(numpy.searchsorted(counts, count)), len(counts) - 1)]
    if score <= scores[0]:
        return 1.0
    if score < scores[-1] or count <= SMALL:
        return float(numpy.exp(numpy.interp(score, scores, logs)))
    return float(numpy.exp(logs[-1] + (logs[-1] - logs[-3]) / (scores[-1] - scores[-3]) * (score - scores[-1])))


@cache
def shortest(alpha: float = ALPHA) -> int:
    """The number of nights from which on anything can be found: before it, even perfect order may be chance."""
    count = SHORTEST
    while tail(_largest(numpy.arange(count, dtype=float))[1], count) > alpha:
        count += 1
    return count


@cache
def _null() -> tuple[list[int], list[tuple[numpy.ndarray, numpy.ndarray]]]:
    """Counts of values, and for each the scores (ascending) with the logarithm of how often they are reached."""
    table = json.loads(files("harness.analyse").joinpath("rank_split_null.json").read_text(encoding="utf-8"))
    rows = [tuple(zip(*row, strict=True)) for row in table["rows"]]
    return table["counts"], [(numpy.asarray(scores), numpy.log(shares)) for scores, shares in rows]
