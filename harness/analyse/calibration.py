"""How often the detector is wrong: simulated nights with known changes, judged every night as ``harness history`` does.

Pure and seeded. Every rule sees the same series. A night's value is 1 plus noise; noise is a share of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy

from harness.analyse.changes import changes
from harness.analyse.watched import TIME_EFFECT

NIGHTS = 90
NOISE = 0.02
FIRST = 8  # the first night at which anything is asked
NEAR = 3  # nights by which a change may be found before the true one
Found = Callable[[numpy.ndarray], list[int]]
Noise = Callable[[numpy.random.Generator, int], numpy.ndarray]


@dataclass(frozen=True)
class Rate:
    """What a rule did on many simulated series. ``delay`` is the median number of nights from the step to the first
    alarm, of series in which it was found; None where there was no step.
    """

    rule: str
    noise: str
    step: float
    trials: int
    alarms: float
    delay: float | None


def gaussian(generator: numpy.random.Generator, nights: int) -> numpy.ndarray:
    """Independent nights."""
    return generator.normal(0, NOISE, nights)


def outliers(generator: numpy.random.Generator, nights: int) -> numpy.ndarray:
    """Independent nights of which 5 % are off by 10 to 30 %, on the slow side."""
    hit = generator.random(nights) < 0.05
    return gaussian(generator, nights) + hit * generator.uniform(0.1, 0.3, nights)


def drifting(generator: numpy.random.Generator, nights: int, correlation: float = 0.6) -> numpy.ndarray:
    """Nights that resemble the one before: AR(1) with the same spread in all."""
    shocks = generator.normal(0, NOISE * (1 - correlation**2) ** 0.5, nights)
    values = numpy.empty(nights)
    values[0] = generator.normal(0, NOISE)
    for night in range(1, nights):
        values[night] = correlation * values[night - 1] + shocks[night]
    return values


def creeping(generator: numpy.random.Generator, nights: int) -> numpy.ndarray:
    """Independent nights of a machine that loses 3 % over all of them."""
    return gaussian(generator, nights) + numpy.linspace(0, 0.03, nights)


NOISES: Mapping[str, Noise] = {
    "Gaussian": gaussian, "5 % outliers": outliers, "AR(1), rho 0.6": drifting, "creeping 3 %": creeping,
}  # fmt: skip


def counts(before: float, after: float) -> bool:
    """What counts for a time."""
    return before > 0 and abs(after / before - 1) > TIME_EFFECT


def ours(series: numpy.ndarray) -> list[int]:
    """Where ``harness history`` would tell of a change."""
    return [change.at for change in changes(series, counts)]


def than_last_night(series: numpy.ndarray) -> list[int]:
    """The simple rule: worse than last night by more than 7 %."""
    return [len(series) - 1] if series[-1] > 1.07 * series[-2] else []


def simulate(rule: str, found: Found, noise: str, step: float, trials: int, seed: int) -> Rate:
    """Judge ``trials`` series night after night until the first alarm.

    With a ``step`` (a share) the level rises at a night between the 30th and the 60th; what is found more than ``NEAR``
    nights before it is no hit.
    """
    raised, delays = 0, []
    for trial in range(trials):
        generator = numpy.random.default_rng([seed, trial])
        at = int(generator.integers(30, 61)) if step else 0
        series = 1 + NOISES[noise](generator, NIGHTS)
        if step:
            series[at:] *= 1 + step
        asked = range(max(FIRST, at + 1), NIGHTS + 1)
        first = next((night for night in asked if any(one >= at - NEAR for one in found(series[:night]))), None)
        if first is not None:
            raised += 1
            delays.append(first - at)
    delay = float(numpy.median(delays)) if step and delays else None
    return Rate(rule, noise, step, trials, raised / trials, delay)
