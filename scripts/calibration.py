"""Print how often each rule is wrong and how soon it is right, and keep the table in ``docs/calibration.md``.

A quarter of an hour on two cores (``make calibration``); ``--trials 200`` is rough and soon done. Beside the detector
of ``harness history`` stand the rule "worse than last night by 7 %" and two change-point packages that are widely used
for this: ruptures (PELT, as its documentation begins) and Apache Otava (formerly Hunter), with its defaults.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy

from harness.analyse.calibration import NIGHTS, NOISES, Rate, counts, gaussian, ours, simulate, than_last_night
from harness.analyse.changes import changes
from harness.analyse.simulate_gate import gate_rows

OUT = Path(__file__).parents[1] / "docs" / "calibration.md"
SEED = 7
TRIALS = 1000
# The packages look at every night anew, as ours does, but take a hundred times as long.
TRIALS_OF_OTHERS = 100
GOALS = {
    ("Gaussian", 0.0): ("at most", 0.01), ("5 % outliers", 0.0): ("at most", 0.01),
    ("AR(1), rho 0.6", 0.0): ("at most", 0.05), ("Gaussian", 0.05): ("at least", 0.90),
    ("Gaussian", 0.10): ("at least", 0.99),
}  # fmt: skip
SOONEST = 8


def by_ruptures(series: numpy.ndarray) -> list[int]:
    """PELT with the kernel and the penalty of ruptures' own introduction, on a standardised series."""
    import ruptures

    scaled = (series - numpy.median(series)) / (series.std() or 1.0)
    return list(ruptures.Pelt(model="rbf").fit(scaled).predict(pen=10)[:-1])


def by_otava(series: numpy.ndarray) -> list[int]:
    """Otava's hunting for changes with its defaults (windows of 50, p <= 0.001)."""
    from otava.analysis import compute_change_points

    return [int(change.index) for change in compute_change_points(list(series))[0]]


RULES = {
    "harness history": ours, "last night + 7 %": than_last_night, "ruptures PELT": by_ruptures,
    "Apache Otava": by_otava,
}  # fmt: skip


def one(task: tuple[str, str, float, int]) -> Rate:
    """The rate of one rule in one kind of noise with one step."""
    rule, noise, step, trials = task
    return simulate(rule, RULES[rule], noise, step, trials, SEED)


def tasks(trials: int) -> Iterator[tuple[str, str, float, int]]:
    """Every row of the table."""
    for rule in RULES:
        own = trials if rule in ("harness history", "last night + 7 %") else min(trials, TRIALS_OF_OTHERS)
        for noise in NOISES:
            yield rule, noise, 0.0, own
        for step in (0.05, 0.10):
            yield rule, "Gaussian", step, own
        yield rule, "5 % outliers", 0.05, own
        yield rule, "AR(1), rho 0.6", 0.10, own


def seconds_of_a_thousand() -> float:
    """How long a thousand series of a year take on one core."""
    generator = numpy.random.default_rng(SEED)
    series = [1 + gaussian(generator, 365) for _ in range(1000)]
    for number, values in enumerate(series):
        values[200:] *= 1.05 if number % 3 == 0 else 1.0
    began = time.perf_counter()
    for values in series:
        changes(values, counts)
    return time.perf_counter() - began


def told(rate: Rate) -> list[str]:
    """A row of the first table."""
    goal = GOALS.get((rate.noise, rate.step)) if rate.rule == "harness history" else None
    wanted = "" if goal is None else f"{goal[0]} {goal[1]:.0%}"
    met = "" if goal is None else _met(goal, rate.alarms)
    if rate.delay is not None and rate.rule == "harness history" and (rate.noise, rate.step) == ("Gaussian", 0.05):
        wanted += f", median at most {SOONEST} nights"
        met = "met" if met == "met" and rate.delay <= SOONEST else "**missed**"
    step = "none" if not rate.step else f"+{rate.step:.0%}"
    delay = "" if rate.delay is None else f"{rate.delay:.0f}"
    return [rate.rule, rate.noise, step, str(rate.trials), f"{rate.alarms:.2%}", delay, wanted, met]


def told_of_gate(row: dict[str, Any]) -> list[str]:
    """A row of the second table."""
    goal = row.get("goal")
    wanted = "" if not goal else f"{goal[0]} {goal[1]:.1%}"
    met = "" if not goal else _met(goal, row["alarm_rate"])
    effect = "none" if not row["effect"] else f"+{row['effect']:.0%}"
    return [row["rule"], str(row["noise"]), str(row["pairs"]), effect, f"{row['alarm_rate']:.2%}", wanted, met]


def _met(goal: tuple[str, float], found: float) -> str:
    return "met" if (found <= goal[1] if goal[0] == "at most" else found >= goal[1]) else "**missed**"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def main() -> None:
    """Simulate, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=TRIALS)
    parser.add_argument("--no-write", action="store_true", help="print only")
    asked = parser.parse_args()
    began = time.perf_counter()
    with ProcessPoolExecutor(2) as pool:
        rates = list(pool.map(one, list(tasks(asked.trials))))
    gates = gate_rows(asked.trials, SEED)
    head = ["Rule", "Noise", "Step", "Series", "Alarm", "Median nights", "Goal", ""]
    text = PAGE.format(
        nights=NIGHTS, trials=asked.trials, others=min(asked.trials, TRIALS_OF_OTHERS),
        history=table(head, [told(rate) for rate in rates]),
        gate=table(["Rule", "Noise", "Pairs", "Slow-down", "Alarm", "Goal", ""], [told_of_gate(row) for row in gates]),
        thousand=f"{seconds_of_a_thousand():.0f}",
    )  # fmt: skip
    print(text)
    print(f"{len(rates)} + {len(gates)} rows in {time.perf_counter() - began:.0f} s")
    if not asked.no_write:
        OUT.write_text(text)


PAGE = """# Calibration

Written by `make calibration`: simulated nights and gates with known answers, judged by the code that judges real ones.
Noise is 2 % of the value from night to night where nothing else is said, a step begins between night 30 and 60.

## History: an alarm within {nights} nights

Every night is judged anew with all nights before it, so an alarm rate is that of a series over {nights} looks
({trials} series per row; {others} for the packages, which take long).

{history}

"Creeping" is a machine that loses 3 % over the {nights} nights; it is no step, and no goal was set for it. The packages
are used as their documentation begins; they ask "where did this series change?" once, not every night, and are no worse
for it.

A thousand series of 365 nights, every third with a step: {thousand} s on one core (goal: 60 s on two).

## Gate: an alarm in one gate

An alarm counts when the automatic re-run confirms it.

{gate}
"""


if __name__ == "__main__":
    main()
