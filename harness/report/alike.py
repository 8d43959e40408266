"""Two trainings side by side: ratios of time and memory, and how far apart their losses are, step by step."""

from __future__ import annotations

from harness.analyse.scaling import ratio_of_medians
from harness.report.content import Content
from harness.report.document import Value
from harness.report.numbers import interval, plain, pretty
from harness.report.outcomes import Key

FIRST_STEPS = 10


def time_ratio(content: Content, one: Key, other: Key) -> Value:
    """Median seconds of an optimiser step of ``one`` over ``other``'s, with a bootstrap interval over the steps."""
    samples = [
        [value for step in content.steps_of(key) for value in content.training_series("step_seconds", step)]
        for key in (one, other)
    ]
    found = ratio_of_medians(samples[0], samples[1])
    return Value() if found is None else Value(f"{plain(found.estimate, 3)} x", interval(found.low, found.high))


def memory_ratio(content: Content, one: Key, other: Key) -> Value:
    """Peak of a training above what its process began with, over the other's; the peak itself below."""
    first, second = (content.last_training(key).get("peak_memory_rise_bytes") for key in (one, other))
    if first is None or second is None or not second["value"]:
        return Value()
    return Value(f"{plain(first['value'] / second['value'], 3)} x", pretty(first["value"], "B", 3))


def loss_distance(content: Content, one: Key, other: Key) -> Value:
    """Greatest distance between the losses of one optimiser step: over the first ten steps, over all below.

    Equal arithmetic in another order differs in the last bits at first, and training magnifies that.
    """
    first, every = farthest(content, one, other, FIRST_STEPS), farthest(content, one, other)
    return Value() if first is None else Value(plain(first, 2), f"all steps {plain(every, 2)}")


def farthest(content: Content, one: Key, other: Key, steps: int | None = None) -> float | None:
    """Greatest distance between the losses of one optimiser step, over the first ``steps`` of them (nats per token)."""
    pairs = zip(content.steps_of(one), content.steps_of(other), strict=False)
    curves = [[content.training_series("train_loss", step)[:steps] for step in pair] for pair in pairs]
    return max((abs(a - b) for pair in curves for a, b in zip(*pair, strict=False)), default=None)
