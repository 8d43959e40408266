"""Two trainings side by side: ratios of time and memory, and how far apart their losses are, step by step.

They are compared over the seeds that both have.
"""

from __future__ import annotations

from statistics import median

from harness.analyse.scaling import ratio_of_medians, ratio_over_seeds, with_noise
from harness.analyse.statistics import Interval
from harness.analyse.summary import ASSUMED_NOISE, FEWEST_SEEDS
from harness.report.content import Content, one_line
from harness.report.document import Value
from harness.report.numbers import interval, plain, pretty
from harness.report.outcomes import Key

FIRST_STEPS = 10
ASSUMED_MEMORY_NOISE = 0.05  # of a peak, between runs of the same thing on a machine without a self-test
NOISE_IN_BRACKETS = (
    "The bracket of a ratio of times is a bootstrap over the steps and, of one or two runs, also what runs of the same "
    "thing differ by (two standard errors, by the noise of the machine's self-test, or by 10 % where none was "
    "measured); of three seeds or more it is Student's over their ratios. A bracket with 1 in it tells nothing apart. "
    "Below a ratio of memory stands from which to which seed it goes."
)
# On a GPU the device's memory is what a training takes; the host's tells nothing of it.
MEMORY = ("cuda_peak_allocated_bytes", "peak_memory_rise_bytes")


def pairs(content: Content, one: Key, other: Key) -> list[tuple[str, str]]:
    """Steps of both trainings by the seed, for every seed that both have."""
    first, second = (content.steps_by_seed(key) for key in (one, other))
    return [(step, second[seed]) for seed, step in first.items() if seed in second]


def time_interval(content: Content, one: Key, other: Key) -> Interval | None:
    """Median seconds of an optimiser step of ``one`` over ``other``'s, and how far it can be told.

    Of three seeds or more by what their ratios differ by. Else by a bootstrap over the steps, widened by what runs of
    the same thing differ by (docs/decisions/0028): the steps of one run do not know that.
    """
    steps = pairs(content, one, other)
    runs = [[content.training_series("step_seconds", step) for step in pair] for pair in steps]
    if len(runs) >= FEWEST_SEEDS and all(first and second for first, second in runs):
        return ratio_over_seeds([median(first) / median(second) for first, second in runs])
    first, second = ([value for run in runs for value in run[place]] for place in (0, 1))
    found = ratio_of_medians(first, second)
    return None if found is None else with_noise(found, len(runs), _noise(content))


def _noise(content: Content) -> float:
    """Of the time of a training between runs of the same thing: of its rate where the self-test has it."""
    found = content.noise("time")
    return found.get("tokens_per_second", max(found.values(), default=ASSUMED_NOISE))


def time_ratio(content: Content, one: Key, other: Key) -> Value:
    """The ratio of times as a cell."""
    found = time_interval(content, one, other)
    return Value() if found is None else Value(f"{plain(found.estimate, 3)} x", interval(found.low, found.high))


def told_apart(found: Interval | None) -> bool:
    """Whether a ratio can be told from 1."""
    return found is not None and found.contains(1.0) is False


def training_memory(content: Content, key: Key, of: list[tuple[str, str]] | None = None) -> float | None:
    """Peak bytes of a training, the mean over seeds: the device's on a GPU, else the process's above its beginning.

    ``of``: over these steps alone, the first of each pair.
    """
    if of is not None:
        told = (content.values(name, [pair[0] for pair in of]) for name in MEMORY)
        return next((sum(values) / len(values) for values in told if values), None)
    lines = content.last_training(key)
    return next((float(lines[name]["value"]) for name in MEMORY if name in lines), None)


def memory_interval(content: Content, one: Key, other: Key) -> Interval | None:
    """Peak of a training over the other's, means over the seeds that both have, and from which to which seed it goes.

    Of one seed by what peaks of the same thing differ by.
    """
    steps = pairs(content, one, other)
    for name in MEMORY:
        peaks = [[content.values(name, [step]) for step in pair] for pair in steps]
        found = [(first[0], second[0]) for first, second in peaks if first and second and second[0]]
        if found:
            ratios = [first / second for first, second in found]
            mean = sum(first for first, _ in found) / sum(second for _, second in found)
            if len(ratios) > 1:
                return Interval(mean, min(ratios), max(ratios), len(ratios), "seeds")
            share = max(content.noise("memory").values(), default=ASSUMED_MEMORY_NOISE)
            return with_noise(Interval(mean, mean, mean, 1, "repeats"), 1, share)
    return None


def memory_ratio(content: Content, one: Key, other: Key) -> Value:
    """Peak of a training over the other's; the range over seeds where there are several, and the peak itself below."""
    found = memory_interval(content, one, other)
    if found is None:
        return Value()
    peak = pretty(training_memory(content, one, pairs(content, one, other)), "B", 3)
    return Value(f"{plain(found.estimate, 3)} x", one_line((over_seeds(found), peak)))


def over_seeds(found: Interval) -> str:
    """From which to which seed a ratio goes; nothing where there is one seed."""
    return f"{plain(found.low, 3)} to {plain(found.high, 3)}" if found.n > 1 else ""


def loss_distance(content: Content, one: Key, other: Key) -> Value:
    """Greatest distance between the losses of one optimiser step: over the first ten steps, over all below.

    Equal arithmetic in another order differs in the last bits at first, and training magnifies that.
    """
    first, every = farthest(content, one, other, FIRST_STEPS), farthest(content, one, other)
    return Value() if first is None else Value(plain(first, 2), f"all steps {plain(every, 2)}")


def farthest(content: Content, one: Key, other: Key, steps: int | None = None) -> float | None:
    """Greatest distance between the losses of one optimiser step, over the first ``steps`` of them (nats per token)."""
    curves = [
        [content.training_series("train_loss", step)[:steps] for step in pair] for pair in pairs(content, one, other)
    ]
    return max((abs(a - b) for pair in curves for a, b in zip(*pair, strict=False)), default=None)
