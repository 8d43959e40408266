"""How often a gate is wrong: simulated runs on a noisy, drifting machine, judged by the code that judges real ones.

Pure and seeded. A run's logarithm is a level, a drift by its place in time, and noise; the head's level is higher by
the true effect. The rule of ``harness gate`` stands beside its first look alone (how often a gate measures again), the
same rule without interleaving, and Welch's t-test with a bound of 5 %, as two batches of runs are usually compared.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy

from harness.analyse.alarm import verdict
from harness.analyse.watched import TIME_EFFECT

DRIFT = 0.10  # of a machine that warms up: how much slower it is at the end of a gate and its re-run
CORRELATION = 0.6
WELCH_EFFECT, WELCH_ALPHA = 0.05, 0.05
FALSE, POWER = ("at most", 0.005), ("at least", 0.95)
Runs = Callable[[numpy.random.Generator, int], numpy.ndarray]
Rule = Callable[[numpy.random.Generator, Runs, int, float], bool]


@dataclass(frozen=True)
class Row:
    """One line of the calibration: a rule in one kind of noise with one true effect."""

    rule: str
    noise: str
    pairs: int
    effect: float
    goal: tuple[str, float] | None = None


def independent(spread: float) -> Runs:
    """Runs that know nothing of each other."""
    return lambda generator, count: generator.normal(0, spread, count)


def outliers(spread: float) -> Runs:
    """Of which 5 % meet a neighbour and take 10 to 30 % longer."""

    def runs(generator: numpy.random.Generator, count: int) -> numpy.ndarray:
        hit = generator.random(count) < 0.05
        return generator.normal(0, spread, count) + hit * numpy.log1p(generator.uniform(0.1, 0.3, count))

    return runs


def correlated(spread: float) -> Runs:
    """AR(1): a run resembles the one before."""

    def runs(generator: numpy.random.Generator, count: int) -> numpy.ndarray:
        shocks = generator.normal(0, spread * (1 - CORRELATION**2) ** 0.5, count)
        values = numpy.empty(count)
        values[0] = generator.normal(0, spread)
        for place in range(1, count):
            values[place] = CORRELATION * values[place - 1] + shocks[place]
        return values

    return runs


def drifting(spread: float) -> Runs:
    """A machine that becomes slower by ``DRIFT`` from the first run to the last."""
    return lambda generator, count: generator.normal(0, spread, count) + numpy.linspace(0, math.log1p(DRIFT), count)


NOISES: dict[str, Runs] = {
    **{f"Gaussian {share:.1%}": independent(share) for share in (0.02, 0.025, 0.03)},
    "5 % outliers, 2.0%": outliers(0.02), "AR(1) rho 0.6, 2.0%": correlated(0.02), "drift +10 %, 2.0%": drifting(0.02),
}  # fmt: skip


def interleaved(generator: numpy.random.Generator, runs: Runs, pairs: int, effect: float) -> bool:
    """``harness gate``: pairs in random order, and as many again where the first look suspects something."""
    return _gate(generator, _interleaved, runs, pairs, effect)


def first_look(generator: numpy.random.Generator, runs: Runs, pairs: int, effect: float) -> bool:
    """Whether the first pairs of ``harness gate`` ask for more."""
    first = _interleaved(generator, runs(generator, 2 * pairs)) + math.log1p(effect)
    return verdict(first.tolist(), [], math.log1p(TIME_EFFECT)) == "suspected"


def one_after_other(generator: numpy.random.Generator, runs: Runs, pairs: int, effect: float) -> bool:
    """The same rule over all runs of the base and then all of the head."""
    return _gate(generator, _one_after_other, runs, pairs, effect)


def welch(generator: numpy.random.Generator, runs: Runs, pairs: int, effect: float) -> bool:
    """All of the base, then all of the head; an alarm where Welch's t-test says so and the means are 5 % apart."""
    from scipy.special import stdtr

    values = runs(generator, 2 * pairs)
    base, head = numpy.exp(values[:pairs]), numpy.exp(values[pairs:] + math.log1p(effect))
    errors = base.var(ddof=1) / pairs, head.var(ddof=1) / pairs
    freedom = sum(errors) ** 2 / sum(error**2 / (pairs - 1) for error in errors)
    p = 2 * float(stdtr(freedom, -abs(head.mean() - base.mean()) / math.sqrt(sum(errors))))
    return bool(p < WELCH_ALPHA and head.mean() > (1 + WELCH_EFFECT) * base.mean())


RULES: dict[str, Rule] = {
    "harness gate": interleaved, "its first look alone": first_look, "same rule, A then B": one_after_other,
    "Welch and 5 %, A then B": welch,
}  # fmt: skip


def rows() -> Iterator[Row]:
    """Every line of the table."""
    for noise in NOISES:
        yield Row("harness gate", noise, 10, 0.0, FALSE)
    for noise in NOISES:
        goal = None if "outliers" in noise else POWER
        yield Row("harness gate", noise, 10, 0.10, goal)
    for noise in NOISES:
        yield Row("harness gate", noise, 20, 0.05, POWER if noise == "Gaussian 2.0%" else None)
    for rule in list(RULES)[1:]:
        for noise in NOISES:
            yield Row(rule, noise, 10, 0.0)
        yield Row(rule, "Gaussian 2.0%", 10, 0.10)


def alarm_rate(row: Row, trials: int, seed: int) -> float:
    """The share of simulated gates that end with an alarm."""
    generator = numpy.random.default_rng(seed)
    return sum(RULES[row.rule](generator, NOISES[row.noise], row.pairs, row.effect) for _ in range(trials)) / trials


def gate_rows(trials: int, seed: int) -> list[dict[str, Any]]:
    """The table: rule, noise, pairs, effect, alarm_rate, and the goal as (``at most`` or ``at least``, share)."""
    return [vars(row) | {"alarm_rate": alarm_rate(row, trials, seed)} for row in rows()]


Ordered = Callable[[numpy.random.Generator, numpy.ndarray], numpy.ndarray]


def _gate(generator: numpy.random.Generator, ordered: Ordered, runs: Runs, pairs: int, effect: float) -> bool:
    smallest = math.log1p(TIME_EFFECT)
    values = runs(generator, 4 * pairs)
    parts = values[: 2 * pairs], values[2 * pairs :]
    first, again = (ordered(generator, part) + math.log1p(effect) for part in parts)
    if verdict(first.tolist(), [], smallest) != "suspected":
        return False
    return verdict(first.tolist(), again.tolist(), smallest) == "worse"


def _interleaved(generator: numpy.random.Generator, values: numpy.ndarray) -> numpy.ndarray:
    """Head minus base of runs that lie beside each other, which of the two came first drawn for each."""
    pairs = values.reshape(-1, 2)
    signs: numpy.ndarray = generator.choice((-1, 1), len(pairs))
    gaps: numpy.ndarray = signs * (pairs[:, 1] - pairs[:, 0])
    return gaps


def _one_after_other(_: numpy.random.Generator, values: numpy.ndarray) -> numpy.ndarray:
    middle = len(values) // 2
    gaps: numpy.ndarray = values[middle:] - values[:middle]
    return gaps
