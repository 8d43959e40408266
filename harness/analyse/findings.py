"""What two sides of one cell say of one number, before anything is corrected for how many numbers there are."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy

from harness.analyse.evidence import NOISE_OF_PEAKS
from harness.analyse.finding import Finding, Seen
from harness.analyse.item_scores import ItemScores
from harness.analyse.paired import UNTRANSFORMED, difference
from harness.analyse.sides import Cell, value_of
from harness.analyse.significance import detectable, shift, signed_rank, smallest_detectable
from harness.analyse.statistics import Interval, mean_interval
from harness.analyse.watched import Watched
from harness.analyse.wins import wider
from harness.results.items import items_of
from harness.results.record import Record, disturbed

FEWEST_RANKED = 6  # below that no rank test can say 5 %
FEWEST_SEEDS = 3  # Student's interval over two says nothing
FREEDOM_OF_PEAKS = 4
TAIL = 1.96


class Scores:
    """The per-item scores of both sides, by record."""

    def __init__(self, base: Iterable[Record], head: Iterable[Record]) -> None:
        self._sides = [_by_record(side) for side in (base, head)]

    def gap(self, metric: str, cell: Cell) -> tuple[Interval | None, float | None]:
        """Head - base over the items of both, with McNemar's p-value where items are right or wrong."""
        told = ([_name(record) for record in cell.done(side)] for side in ("base", "head"))
        base, head = (scores.scores(metric, names) for scores, names in zip(self._sides, told, strict=True))
        return (None, None) if base is None or head is None else difference(metric, head, base)


def pairs_of(cell: Cell) -> list[tuple[Record, Record]]:
    """Runs of both sides, paired by seed and then by the order in which they began."""
    sides = [_by_seed(cell.done(side)) for side in ("base", "head")]
    if len(sides[0]) == 1 == len(sides[1]):  # one seed each, which may be what is compared
        sides = [{None: next(iter(side.values()))} for side in sides]
    both = [(sides[0][seed], sides[1][seed]) for seed in sides[0] if seed in sides[1]]
    pairs = [pair for base, head in both for pair in zip(base, head, strict=False)]
    return sorted(pairs, key=lambda pair: min(one["started"] for one in pair))


def interleaved(pairs: Sequence[tuple[Record, Record]]) -> bool:
    """Whether both runs of each pair began before those of the next, so that a drift did to both sides the same."""
    times = [sorted(one["started"] for one in pair) for pair in pairs]
    return len(times) > 1 and all(first[1] < second[0] for first, second in itertools.pairwise(times))


def time_of(cell: Cell, watched: Watched, levels: tuple[float, float]) -> Finding:
    """The ratio within pairs of runs; a verdict only where these were interleaved."""
    every = pairs_of(cell)
    pairs = [pair for pair in every if not any(map(disturbed, pair))]
    logs = _logs(pairs, watched.metric)
    why = ""
    if len(pairs) < 2 <= len(every):
        why = f"{len(pairs)} of {len(every)} pairs of runs were not disturbed; a verdict takes {FEWEST_RANKED}"
    elif len(pairs) < 2:
        why = "one run of each side: a single pair of runs proves nothing about speed"
    elif not interleaved(pairs):
        why = "not interleaved: two occasions prove nothing about speed"
    elif len(logs) < FEWEST_RANKED:
        why = f"{len(logs)} interleaved and undisturbed pairs of runs; a verdict takes {FEWEST_RANKED}"
    return ranked(cell, watched, levels, logs, why)


def ranked(cell: Cell, watched: Watched, levels: tuple[float, float], logs: Sequence[float], why: str = "") -> Finding:
    """The shift of paired logarithms with the p-value of its rank test, or ``why`` there is none."""
    found = shift(logs)
    if found is None:
        return Finding(cell, watched, *levels, effect=levels[1] / levels[0] - 1 if levels[0] else None,
                       insufficient=why or "no pair of runs")  # fmt: skip
    p = None if why else signed_rank(logs)
    effect, low, high = map(_from_log, (found.estimate, found.low, found.high))
    return Finding(cell, watched, *levels, effect=effect, low=low, high=high, p=p, insufficient=why, signs=len(logs),
                   seen=lambda level: _from_log(smallest_detectable(logs, level)))  # fmt: skip


def memory_of(cell: Cell, watched: Watched, levels: tuple[float, float]) -> Finding:
    """Peaks differ where they are further apart than peaks of equal work: as known from the repeats, else 10 %."""
    sides = [numpy.log([value for one in cell.done(side) if (value := value_of(one, watched.metric))]) for side in
             ("base", "head")]  # fmt: skip
    if not all(map(len, sides)):
        return Finding(cell, watched, *levels, exact=True)
    gap = float(sides[1].mean() - sides[0].mean())
    half, seen = _noise(sides)
    numbers = (_from_log(value) for value in (gap, gap - half, gap + half, seen))
    effect, low, high, found = numbers
    return Finding(cell, watched, *levels, effect=effect, low=low, high=high, clear=abs(gap) > seen,
                   seen=lambda _: found)  # fmt: skip


def quality_of(cell: Cell, watched: Watched, scores: Scores, levels: tuple[float, float]) -> Finding:
    """Paired over the same items, widened by the spread over seeds; where there are no items, over runs."""
    plain = UNTRANSFORMED.get(watched.metric, watched.metric)
    over_items, p = scores.gap(plain, cell)
    if over_items is None or over_items.low is None or over_items.high is None:
        return _over_runs(cell, watched, levels, _gaps(cell, watched, watched.metric))
    if over_items.low == over_items.high == 0 and levels[0] == levels[1]:  # to the bit: nothing to test
        return Finding(cell, watched, *levels, effect=0.0, exact=True)
    runs = _gaps(cell, watched, plain)
    error = (over_items.high - over_items.low) / (2 * TAIL)
    signs = None if p is None else over_items.n
    if p is None:
        p = _student(over_items.estimate, error, over_items.n - 1)
    scale = 1.0 if plain != watched.metric or watched.absolute else abs(levels[0]) or 1.0
    found, p = _with_training(_scaled(over_items, scale), p, [value / scale for value in runs])
    ends: tuple[float | None, ...] = (found.estimate, found.low, found.high)
    effect, low, high = map(_from_log, ends) if plain != watched.metric else ends
    return Finding(cell, watched, *levels, effect=effect, low=low, high=high, p=p, signs=signs, of="items",
                   seen=_over_items(error / scale, plain != watched.metric))  # fmt: skip


def _over_runs(cell: Cell, watched: Watched, levels: tuple[float, float], gaps: Sequence[float]) -> Finding:
    """Quality without scores by item: exactly where runs repeat to the bit, else by ranks."""
    sides = [{value_of(one, watched.metric) for one in cell.done(side)} for side in ("base", "head")]
    repeated = min(len(cell.done("base")), len(cell.done("head"))) > 1 and max(map(len, sides)) == 1
    if repeated or levels[0] == levels[1]:
        return Finding(cell, watched, *levels, effect=watched.effect(*levels), exact=True)
    if len(gaps) < FEWEST_RANKED:
        why = f"no scores by item and {len(gaps)} pairs of runs; a verdict takes {FEWEST_RANKED}"
        return Finding(cell, watched, *levels, effect=watched.effect(*levels), insufficient=why)
    found, scale = shift(gaps), 1.0 if watched.absolute else abs(levels[0]) or 1.0
    assert found is not None
    effect, low, high = (_divided(value, scale) for value in (found.estimate, found.low, found.high))
    return Finding(cell, watched, *levels, effect=effect, low=low, high=high, p=signed_rank(gaps), signs=len(gaps),
                   seen=lambda level: _divided(smallest_detectable(gaps, level), scale))  # fmt: skip


def _over_items(error: float, logarithm: bool) -> Seen:
    """What the normal test finds that an estimate with this standard error stands for."""

    def seen(level: float) -> float | None:
        found = detectable(error, level=level)
        return _from_log(found) if logarithm else found

    return seen


def _with_training(found: Interval, p: float, runs: Sequence[float]) -> tuple[Interval, float]:
    """An interval over items made to hold what training again with another seed does, and the larger p-value."""
    over_seeds = mean_interval(runs)
    if over_seeds is None or over_seeds.n < 2 or len(set(runs)) == 1:
        return found, p
    if over_seeds.n < FEWEST_SEEDS:
        both = Interval(over_seeds.estimate, min(runs), max(runs), over_seeds.n, "seeds")
        return wider(found, both), p if min(runs) * max(runs) > 0 else 1.0
    error = float(numpy.std(runs, ddof=1)) / len(runs) ** 0.5
    return wider(found, over_seeds), max(p, _student(over_seeds.estimate, error, len(runs) - 1))


def _gaps(cell: Cell, watched: Watched, plain: str) -> list[float]:
    """Head - base of each pair of seeds, on the scale below a transformation; repeats of a seed are averaged."""
    sides = [
        {seed: [value for one in runs if (value := value_of(one, plain)) is not None] for seed, runs in each.items()}
        for each in (_by_seed(cell.done(side)) for side in ("base", "head"))
    ]  # fmt: skip
    if watched.metric == plain and all(len(side) == 1 for side in sides):  # one seed: its repeats are the runs
        first, second = (next(iter(side.values())) for side in sides)
        return [other - one for one, other in zip(first, second, strict=False)]
    means = [{seed: float(numpy.mean(values)) for seed, values in side.items() if values} for side in sides]
    return [means[1][seed] - means[0][seed] for seed in means[0] if seed in means[1]]


def _by_seed(records: Iterable[Record]) -> dict[Any, list[Record]]:
    found: dict[Any, list[Record]] = {}
    for record in records:
        found.setdefault(record["coordinates"].get("seed"), []).append(record)
    return found


def _logs(pairs: Iterable[tuple[Record, Record]], metric: str) -> list[float]:
    values = [tuple(value_of(one, metric) or 0.0 for one in pair) for pair in pairs]
    return [math.log(other / one) for one, other in values if one > 0 and other > 0]


def _noise(sides: Sequence[numpy.ndarray]) -> tuple[float, float]:
    """Half of the 95 % interval of the gap of two means, and the smallest gap that would be found."""
    from scipy.special import stdtrit

    freedom = sum(map(len, sides)) - 2
    if freedom < FREEDOM_OF_PEAKS:
        known = math.log1p(NOISE_OF_PEAKS)
        return known, known
    spread = math.sqrt(sum(float(((side - side.mean()) ** 2).sum()) for side in sides) / freedom)
    error = spread * math.sqrt(sum(1 / len(side) for side in sides))
    return float(stdtrit(freedom, 0.975)) * error, detectable(error, freedom)


def _student(estimate: float, error: float, freedom: int) -> float:
    """Two-sided p-value of Student's test."""
    from scipy.special import stdtr

    if error == 0:
        return 1.0 if estimate == 0 else 0.0
    return 2 * float(stdtr(max(1, freedom), -abs(estimate) / error))


def _scaled(found: Interval, scale: float) -> Interval:
    low, high = (None if end is None else end / scale for end in (found.low, found.high))
    return Interval(found.estimate / scale, low, high, found.n, found.kind)


def _divided(value: float | None, scale: float) -> float | None:
    return None if value is None else value / scale


def _from_log(value: float | None) -> float | None:
    return None if value is None else math.expm1(value)


def _by_record(records: Iterable[Record]) -> ItemScores:
    items = items_of(records)
    if len(items):
        items = items.assign(step=items["installation"].astype(str) + "/" + items["record"].astype(str))
    return ItemScores(items)


def _name(record: Record) -> str:
    return f"{record['environment'].get('installation')}/{record['record']}"
