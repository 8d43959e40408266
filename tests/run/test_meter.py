"""The meter in this process: spans that sum, peaks that are peaks, steps without their evaluations, rates that fit."""

from __future__ import annotations

import math
import subprocess
import sys
import time

import pytest

from harness.errors import InvalidMeasurement, UsageError
from harness.run import gpu, memory
from harness.run.meter import Meter
from harness.run.steps import Steps, check_rate
from harness.run.timeline import Timeline
from tests.fakes.clock import Clock

MIB = 2**20


def seconds_of(found: dict, name: str) -> float:
    return next(span["seconds"] for span in found["spans"] if span["name"] == name)


def peak_of(found: dict, name: str) -> int:
    return next(span["peak_memory_bytes"] for span in found["spans"] if span["name"] == name)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_an_inner_span_pauses_the_outer_one_and_all_sum_to_the_wall_time(clock: Clock) -> None:
    meter = Meter(clock=clock)
    with meter.span("outer"):
        clock.sleep(0.05)
        with meter.span("inner"):
            clock.sleep(0.1)
        clock.sleep(0.05)
    found = meter.finish()
    assert seconds_of(found, "inner") == pytest.approx(0.1)
    assert seconds_of(found, "outer") == pytest.approx(0.1)
    assert found["wall_seconds"] == pytest.approx(0.2)
    assert meter.invalid is None


@pytest.mark.parametrize(("worked", "lost", "invalid"), [(0.0, 0.051, True), (0.0, 0.049, False), (9.0, 0.1, False)])
def test_time_that_no_span_explains_makes_the_measurement_invalid(
    clock: Clock, worked: float, lost: float, invalid: bool
) -> None:
    meter = Meter(clock=clock)
    with meter.span("first"):
        clock.sleep(worked)
    clock.sleep(lost)
    with meter.span("second"):
        pass
    meter.finish()
    assert (meter.invalid is not None) == invalid
    assert not invalid or "spans do not sum to the wall time: 0.051 s of 0.051 s" in str(meter.invalid)


def test_the_clock_that_is_used_is_the_monotonic_one() -> None:
    began = time.perf_counter()
    meter = Meter(started=began)
    with meter.span("work"):
        time.sleep(0.1)
    found = meter.finish()
    assert 0.1 <= seconds_of(found, "work") <= found["wall_seconds"] <= time.perf_counter() - began


def test_the_time_before_the_meter_is_the_span_start(clock: Clock) -> None:
    began = clock()
    clock.sleep(0.1)
    meter = Meter(started=began, clock=clock)
    with meter.span("work"):
        pass
    found = meter.finish()
    assert seconds_of(found, "start") == pytest.approx(0.1)
    assert meter.invalid is None


def test_what_looking_at_a_gpu_takes_is_of_the_start(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    """NVML answers after a while: were that in no span, a short step on a GPU would be invalid."""

    def slow() -> dict[str, gpu.GpuReading]:
        clock.sleep(0.2)
        return {}

    monkeypatch.setattr(gpu, "readings", slow)
    meter = Meter(started=clock(), clock=clock)
    with meter.span("work"):
        pass
    found = meter.finish()
    assert meter.invalid is None
    assert seconds_of(found, "start") == pytest.approx(0.2)


def test_spans_closed_in_the_wrong_order_are_an_error() -> None:
    timeline = Timeline()
    timeline.enter("a")
    timeline.enter("b")
    with pytest.raises(InvalidMeasurement, match="'a' was closed"):
        timeline.leave("a")


def test_a_span_that_is_left_by_an_exception_is_closed() -> None:
    meter = Meter()
    with pytest.raises(ValueError, match="x"), meter.span("outer"), meter.span("inner"):
        raise ValueError("x")
    assert meter.timeline.current() is None


def test_a_spike_between_two_boundaries_is_seen_and_belongs_to_its_span_alone() -> None:
    meter = Meter()
    meter.libraries_loaded()
    with meter.span("outer"):
        with meter.span("before"):
            pass
        with meter.span("spike"):
            block = bytearray(300 * MIB)
            block[::4096] = b"x" * len(block[::4096])
            del block
        with meter.span("after"):
            pass
    found = meter.finish()
    base = memory.resident_bytes()
    assert peak_of(found, "spike") >= 300 * MIB
    assert peak_of(found, "outer") == peak_of(found, "spike")
    assert peak_of(found, "after") < base + 100 * MIB
    assert peak_of(found, "before") < base + 100 * MIB
    # The kernel counts resident pages per processor and adds them up late, hence the MiB.
    assert 299 * MIB <= found["metrics"]["peak_memory_rise_bytes"] < 330 * MIB


@pytest.mark.parametrize("beside", ["data", "evaluate", "compare"])
def test_what_stands_beside_the_work_is_not_memory_of_the_work(beside: str) -> None:
    meter = Meter()
    meter.libraries_loaded()
    with meter.span("train"), meter.span(beside):
        block = bytearray(200 * MIB)
        block[::4096] = b"x" * len(block[::4096])
        del block
    found = meter.finish()
    assert peak_of(found, "train") >= 200 * MIB
    assert found["metrics"]["peak_memory_rise_bytes"] < 100 * MIB


def test_evaluation_inside_an_optimiser_step_is_not_counted_in_it(clock: Clock) -> None:
    meter = Meter(clock=clock)
    with meter.span("train"):
        for _ in range(14):
            meter.step_begin()
            clock.sleep(0.002)
            with meter.span("evaluate"):
                clock.sleep(0.02)
            meter.step_end(tokens=10, nonpadding_tokens=8, loss_tokens=4)
    found = meter.finish()
    assert found["optimizer_steps"]["seconds"] == pytest.approx([0.002] * 14)
    assert found["metrics"]["step_seconds"] == pytest.approx(0.002)
    assert seconds_of(found, "evaluate") == pytest.approx(14 * 0.02)
    assert meter.invalid is None


def test_evaluation_between_steps_is_not_counted_either(clock: Clock) -> None:
    meter = Meter(clock=clock)
    with meter.span("train"):
        for _ in range(3):
            meter.step_begin()
            clock.sleep(0.002)
            meter.step_end(tokens=10, nonpadding_tokens=8, loss_tokens=4)
            with meter.span("evaluate"):
                clock.sleep(0.02)
    assert meter.finish()["optimizer_steps"]["seconds"] == pytest.approx([0.002] * 3)


def test_a_cancelled_step_leaves_no_sample() -> None:
    meter = Meter()
    meter.step_begin()
    meter.step_cancel()
    with pytest.raises(InvalidMeasurement, match="had not begun"):
        meter.step_end(tokens=1, nonpadding_tokens=1, loss_tokens=1)


def steps_of(count: int, seconds: float = 0.5) -> Steps:
    steps = Steps()
    for index in range(count):
        steps.add(100.0 if index < steps_warmup(count) else seconds, 100, 80, 60)
    return steps


def steps_warmup(count: int) -> int:
    return min(count, max(3, math.ceil(count / 10)))


def test_rates_leave_the_warmup_out_and_match_their_amounts() -> None:
    steps = steps_of(60)
    found = steps.metrics()
    assert steps.warmup() == 6
    assert found["step_seconds"] == 0.5
    assert found["tokens_per_second"] == pytest.approx(200)
    assert found["nonpadding_tokens_per_second"] == pytest.approx(160)
    assert found["loss_tokens_per_second"] == pytest.approx(120)
    assert found["train_tokens"] == 6000
    assert steps.flags() == []


def test_too_few_steps_after_the_warmup_are_flagged() -> None:
    assert steps_of(12).flags() == ["only 9 optimiser steps after the warm-up (at least 10)"]
    assert "step_seconds" not in steps_of(3).metrics()


def test_a_rate_that_does_not_give_its_amount_is_refused() -> None:
    check_rate("tokens_per_second", 200.0, 27.0, 5400)
    with pytest.raises(InvalidMeasurement, match="is not 5400"):
        check_rate("tokens_per_second", 200.0 * 54, 27.0, 5400)


def test_a_rate_given_by_the_technique_must_agree_with_its_steps(clock: Clock) -> None:
    meter = Meter(clock=clock)
    with meter.span("train"):
        for _ in range(14):
            meter.step_begin()
            clock.sleep(0.001)
            meter.step_end(tokens=10, nonpadding_tokens=8, loss_tokens=4)
        meter.metric("tokens_per_second", 1e9)
    meter.finish()
    assert meter.invalid is not None
    assert "tokens_per_second was given as 1e+09" in meter.invalid


def test_token_counts_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(InvalidMeasurement, match="contradict"):
        Steps().add(0.1, 10, 11, 5)


def test_a_loss_that_does_not_fall_is_flagged() -> None:
    rising, falling = steps_of(60), steps_of(60)
    for step in range(1, 61):
        rising.losses[step] = 1.0 + step
        falling.losses[step] = 100.0 - step
    assert rising.flags() == ["the training loss did not fall"]
    assert falling.flags() == []
    assert falling.metrics()["train_loss_first"] == pytest.approx(96.5)
    assert falling.metrics()["train_loss_last"] == pytest.approx(42.5)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_none_make_it_invalid_even_if_swallowed(value: float) -> None:
    for act in (
        lambda meter: meter.metric("loss", value),
        lambda meter: meter.step_loss(7, value),
        lambda meter: meter.curve(7, validation_loss=value),
        lambda meter: meter.sample("loss", [1.0, value]),
    ):
        meter = Meter()
        with pytest.raises(InvalidMeasurement):
            act(meter)
        meter.finish()
        assert meter.invalid is not None


def test_an_undeclared_metric_is_named() -> None:
    with pytest.raises(UsageError, match="unknown metric 'perplexty'; did you mean 'perplexity'"):
        Meter().metric("perplexty", 1.0)


def test_the_curve_carries_tokens_and_seconds_so_far() -> None:
    meter = Meter()
    with meter.span("train"):
        meter.step_begin()
        meter.step_end(tokens=10, nonpadding_tokens=8, loss_tokens=4)
        meter.curve(1, validation_loss=2.0)
    (point,) = meter.finish()["curve"]
    assert (point["step"], point["train_tokens"], point["validation_loss"]) == (1, 10, 2.0)


def test_items_need_equally_long_columns() -> None:
    with pytest.raises(InvalidMeasurement, match="different lengths"):
        Meter().items("choice", {"item": [1, 2], "right": [1]})


def test_flags_are_kept_once() -> None:
    meter = Meter()
    meter.flag("x")
    meter.flag("x")
    assert meter.flags == ["x"]


def test_memory_of_training_is_the_rise_above_what_is_not_the_models() -> None:
    meter = Meter()
    with meter.span("load"):
        model = bytearray(b"x") * (150 * MIB)
    with meter.span("setup"):
        meter.training_begins(held_bytes=150 * MIB)
    with meter.span("train"):
        more = bytearray(b"y") * (250 * MIB)
        del more
        with meter.span("evaluate"):
            other = bytearray(b"z") * (600 * MIB)
            del other
    found = meter.finish()["metrics"]["training_memory_bytes"]
    # The kernel's late sums again, in a process that has lived long.
    assert found == pytest.approx(400 * MIB, rel=0.15), "the model and the step, not what an evaluation takes"
    assert len(model)


def test_no_training_has_no_memory_of_training() -> None:
    meter = Meter()
    with meter.span("train"):
        pass
    assert "training_memory_bytes" not in meter.finish()["metrics"]


def test_a_heap_that_keeps_nothing_gives_back_at_once() -> None:
    """In a child: what is mapped block by block leaves with the block, what the heap serves may stay."""
    script = (
        "import ctypes, sys\n"
        "from harness.run import memory\n"
        "libc = ctypes.CDLL(None)\n"
        "libc.malloc.restype = ctypes.c_void_p\n"
        "libc.malloc.argtypes, libc.free.argtypes = [ctypes.c_size_t], [ctypes.c_void_p]\n"
        "if sys.argv[1] == 'back': memory.keep_no_freed_memory()\n"
        "def block(size):\n"
        "    found = libc.malloc(size); ctypes.memset(found, 1, size); return found\n"
        "libc.free(block(24 << 20))\n"  # which raises glibc's own threshold
        "before = memory.resident_bytes()\n"
        "kept = [block(1 << 20) for _ in range(64)]\n"
        "for one in kept[:-1]: libc.free(one)\n"
        "print(memory.resident_bytes() - before)\n"
    )
    left = [int(subprocess.run([sys.executable, "-c", script, how], capture_output=True, text=True, check=True).stdout)
            for how in ("keep", "back")]  # fmt: skip
    assert left[1] < 4 * MIB < 32 * MIB < left[0]
