"""Two trainings side by side: ratios of time and memory, and how far apart their losses are, step by step.

They are compared over the seeds that both have.
"""

from __future__ import annotations

from harness.analyse.scaling import ratio_of_medians
from harness.analyse.statistics import Interval
from harness.report.content import Content
from harness.report.document import Value
from harness.report.numbers import interval, plain, pretty
from harness.report.outcomes import Key

FIRST_STEPS = 10
# On a GPU the device's memory is what a training takes; the host's tells nothing of it.
MEMORY = ("cuda_peak_allocated_bytes", "peak_memory_rise_bytes")


def pairs(content: Content, one: Key, other: Key) -> list[tuple[str, str]]:
    """Steps of both trainings by the seed, for every seed that both have."""
    first, second = (content.steps_by_seed(key) for key in (one, other))
    return [(step, second[seed]) for seed, step in first.items() if seed in second]


def time_interval(content: Content, one: Key, other: Key) -> Interval | None:
    """Median seconds of an optimiser step of ``one`` over ``other``'s, with a bootstrap interval over the steps."""
    steps = pairs(content, one, other)
    first, second = (
        [value for pair in steps for value in content.training_series("step_seconds", pair[place])] for place in (0, 1)
    )
    return ratio_of_medians(first, second)


def time_ratio(content: Content, one: Key, other: Key) -> Value:
    """The ratio of times as a cell."""
    found = time_interval(content, one, other)
    return Value() if found is None else Value(f"{plain(found.estimate, 3)} x", interval(found.low, found.high))


def training_memory(content: Content, key: Key) -> float | None:
    """Peak bytes of a training, the mean over seeds: the device's on a GPU, else the process's above its beginning."""
    lines = content.last_training(key)
    return next((float(lines[name]["value"]) for name in MEMORY if name in lines), None)


def memory_ratio(content: Content, one: Key, other: Key) -> Value:
    """Peak of a training over the other's; the peak itself below."""
    steps = pairs(content, one, other)
    for name in MEMORY:
        first, second = (content.values(name, [pair[place] for pair in steps]) for place in (0, 1))
        if first and second and sum(second):
            mean = sum(first) / len(first)
            return Value(f"{plain(mean / (sum(second) / len(second)), 3)} x", pretty(mean, "B", 3))
    return Value()


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
