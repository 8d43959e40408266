"""How much numbers differ that should be the same: the noise floor, from runs of one thing measured again and again.

Times and sizes of memory are compared as logarithms, so that a difference is a share; metrics that are shares
themselves, which may be 0, in their own unit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy
import pandas

from harness.analyse.case import COORDINATES, Place
from harness.analyse.significance import detectable
from harness.analyse.statistics import Interval, mean_interval
from harness.analyse.watched import WATCHED, Kind, Watched

GATE_PAIRS = 10


@dataclass(frozen=True)
class Noise:
    """One watched number of one step over ``n`` repeats.

    ``deviation`` between repeats and ``smallest``, the smallest detectable change of ``GATE_PAIRS`` interleaved pairs,
    are shares of the ``level`` (the median), or in the metric's unit where it is watched so; None for a single repeat.
    ``ratio`` is that of every second repeat to the one before it (their difference in the metric's unit): what a
    comparison of one thing with itself says, whose interval should contain 1 (or 0).
    """

    place: Place
    metric: str
    n: int
    level: float
    deviation: float | None
    ratio: Interval | None
    smallest: float | None

    @property
    def watched(self) -> Watched:
        """How the metric is watched."""
        return WATCHED[self.metric]

    @property
    def random(self) -> bool:
        """Whether repeats may differ: nothing random enters the numbers of the other kinds."""
        return self.watched.kind in ("time", "memory")

    @property
    def same(self) -> bool | None:
        """Whether the comparison with itself finds no difference; None where there are too few repeats."""
        return None if self.ratio is None else self.ratio.contains(0.0 if self.watched.absolute else 1.0)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self) | {"place": asdict(self.place), "same": self.same}


def between_runs(found: Sequence[Noise], kind: Kind = "time") -> dict[str, float]:
    """By how much a time differs from run to run, as a share of it, by metric: the largest of the steps' deviations.

    Or a peak of memory, by its ``kind``.
    """
    told: dict[str, float] = {}
    for one in found:
        if one.watched.kind == kind and not one.watched.absolute and one.deviation is not None:
            told[one.metric] = max(told.get(one.metric, 0.0), one.deviation)
    return told


def noise_floor(frame: pandas.DataFrame, installation: str | None) -> list[Noise]:
    """Noise of every watched number over all done attempts of each step of an installation, as they were measured."""
    rows = scalars(frame, installation)
    rows = rows[rows["metric"].isin(list(WATCHED)) & (rows["operation"] != "canary")]
    found = []
    for (step, metric), group in rows.groupby(["step", "metric"], sort=False, observed=True):
        first = group.iloc[0]
        told = {name: None if pandas.isna(first[name]) else first[name] for name in COORDINATES}
        told["seed"] = None if told["seed"] is None else int(told["seed"])
        place = Place.of(str(first["suite"]), str(step), str(first["operation"]), told)
        ordered = group.sort_values("attempt", kind="stable")  # not by time: a clock may have been set back
        found.append(noise_of(place, str(metric), ordered["value"].tolist()))
    return found


def scalars(frame: pandas.DataFrame, installation: str | None) -> pandas.DataFrame:
    """Rows of the single numbers of an installation's done records, in the order in which they were measured."""
    single = frame["sample"].isna() & (frame["phase"] == "") & frame["value"].notna()
    rows = frame[single & (frame["status"] == "done") & (frame["installation"] == installation)]
    record = rows["record"].astype(str)
    attempt = record.str.rsplit(".", n=1).str[-1].astype(int)
    texts = rows.assign(record=record, started=rows["started"].astype(str), attempt=attempt)
    return texts.sort_values(["started", "attempt"], kind="stable")


def noise_of(place: Place, metric: str, values: Sequence[float]) -> Noise:
    """Noise of one number that was measured as ``values``, in this order."""
    watched, series = WATCHED[metric], numpy.asarray(values, dtype=float)
    deviation: float | None = None
    ratio: Interval | None = None
    smallest: float | None = None
    if len(series) > 1 and (series == series[0]).all():
        same = 0.0 if watched.absolute else 1.0
        deviation, ratio, smallest = 0.0, Interval(same, same, same, len(series) // 2, "repeats"), 0.0
    elif len(series) > 1 and (scale := _scaled(series, watched)) is not None:
        deviation = float(series.std(ddof=1)) / (1.0 if watched.absolute else float(series.mean()))
        ratio, smallest = _against_itself(scale, watched), _smallest(scale, watched)
    return Noise(place, metric, len(series), float(numpy.median(series)), deviation, ratio, smallest)


def _scaled(series: numpy.ndarray, watched: Watched) -> numpy.ndarray | None:
    """The values on the scale on which they are compared; None where they have none."""
    if watched.absolute:
        return series
    return numpy.log(series) if (series > 0).all() else None


def _against_itself(scale: numpy.ndarray, watched: Watched) -> Interval | None:
    """The mean change from each odd repeat to the even one after it, with its interval (Student's t)."""
    pairs = len(scale) // 2
    found = mean_interval((scale[1 : 2 * pairs : 2] - scale[: 2 * pairs : 2]).tolist())
    if found is None:
        return None
    back = float if watched.absolute else math.exp
    low, high = (None if end is None else back(end) for end in (found.low, found.high))
    return Interval(back(found.estimate), low, high, found.n, "repeats")


def _smallest(scale: numpy.ndarray, watched: Watched) -> float:
    """The smallest detectable change of ``GATE_PAIRS`` pairs.

    The differences of neighbours are those of one thing with itself: their mean is 0, and known.
    """
    spread = math.sqrt(float(numpy.mean(numpy.diff(scale) ** 2)))
    change = detectable(spread / math.sqrt(GATE_PAIRS), GATE_PAIRS - 1)
    return change if watched.absolute else math.expm1(change)
