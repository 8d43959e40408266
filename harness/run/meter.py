"""The meter: everything that a step observes about itself goes through here, and only the meter reads a clock.

The worker makes one, hands it to the adapter and the task in their job, and copies its findings into the record.
"""

from __future__ import annotations

import contextlib
import math
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.errors import InvalidMeasurement
from harness.metrics import metric as declared
from harness.run import memory
from harness.run.contention import compare, usage
from harness.run.failures import one_line
from harness.run.gpu_work import SHORTEST_SECONDS, DeviceClock, GpuState, as_observed, energy, states
from harness.run.steps import LOSS_ENDS, RATES, Steps
from harness.run.timeline import BESIDE_THE_WORK, Timeline

# Spans that the worker itself needs, or that look at the work from outside: their memory is not the technique's.
NOT_THE_WORK = BESIDE_THE_WORK | {"start", "import", "seal", "inspect"}
TRAINING = frozenset({"train"})
POWERED = TRAINING | {"generate"}  # the work whose energy is told
CLOCKS_DIFFER = 0.02  # share by which a GPU's events may exceed the clock around them
CONTENTION = ("contention_share", "supervisor_cpu_share")
_CUDA_METRICS = {
    "allocated_bytes": "cuda_peak_allocated_bytes",
    "reserved_bytes": "cuda_peak_reserved_bytes",
    "active_bytes": "cuda_peak_active_bytes",
    "alloc_retries": "cuda_alloc_retries",
}


class Meter:
    """Implements ``harness.contract.Meter``. ``started`` is the worker's first instruction, on the monotonic clock.

    ``alone`` is False in one of several processes that train together: the others are no contention. ``gpu`` is then
    the one that is its own: to look at another's would open it here too. ``clock`` is the monotonic one, in seconds.
    """

    def __init__(
        self, *, started: float | None = None, log: Path | None = None, supervisors: tuple[int, ...] = (),
        alone: bool = True, gpu: int | None = None, clock: Callable[[], float] = time.perf_counter,
    ) -> None:  # fmt: skip
        self._before = usage(supervisors)  # takes its time where there are GPUs: that is of the start
        self.timeline = Timeline(clock, started, gpu)
        self.steps = Steps()
        self.points: list[dict[str, float]] = []
        self.metrics: dict[str, float] = {}
        self.samples: dict[str, list[float]] = {}
        self.scored: dict[str, dict[str, list[Any]]] = {}
        self.observed: dict[str, Any] = {}
        self.flags: list[str] = []
        self.invalid: str | None = None
        self.runtime_memory_bytes = 0
        self._log = log
        self._alone = alone
        self._gpu = gpu
        self._powered = 0
        self._supervisors = supervisors
        self._step: tuple[float, float, str] | None = None
        self._device = DeviceClock()
        self._elsewhere: dict[str, float] = {}
        self._before_training: int | None = None

    @contextlib.contextmanager
    def span(self, name: str) -> Iterator[None]:
        """Attribute the time and the peak memory of the block to ``name``.

        Of a training within a training (the operation's span around the loop's) the energy is the inner one's.
        """
        self._synchronize()
        before, powered = self._gpu_states(name), self._powered
        self.timeline.enter(name)
        began = self.timeline.now()
        try:
            yield
            self._synchronize()
        except BaseException:
            self.timeline.close_within(name)
            raise
        finally:
            seconds = self.timeline.now() - began
            self.timeline.leave(name)
        if before and self._powered == powered:
            self._gpu_work(before, self._gpu_states(name), seconds)

    def step_begin(self) -> None:
        """Start the clock of one optimiser step."""
        self._synchronize()
        name = self.timeline.current() or ""
        self._step = (self.timeline.now(), self.timeline.inner_seconds(name), name)
        self._device.begin()

    def step_end(self, *, tokens: int, nonpadding_tokens: int, loss_tokens: int) -> None:
        """Stop it; spans opened inside the step (an evaluation) are not counted in it."""
        if self._step is None:
            raise InvalidMeasurement("an optimiser step was ended that had not begun")
        began, inner, name = self._step
        self._device.end(whole=self.timeline.inner_seconds(name) == inner)
        self._synchronize()
        seconds = self.timeline.now() - began - (self.timeline.inner_seconds(name) - inner)
        self._step = None
        self.steps.add(seconds, tokens, nonpadding_tokens, loss_tokens)
        self.progress()

    def step_cancel(self) -> None:
        """Forget a step that was begun and will not be taken."""
        self._step = None

    def step_loss(self, step: int, loss: float) -> None:
        """Record the training loss of optimiser step ``step`` (from 1)."""
        self.steps.losses[step] = self._finite(f"training loss of step {step}", loss)

    def curve(self, step: int, **values: float) -> None:
        """Record values of declared metrics at one point of training, with the tokens and seconds so far."""
        for name, value in values.items():
            declared(name)
            self._finite(f"{name} at step {step}", value)
        done = {"train_tokens": sum(self.steps.tokens), "train_seconds": sum(self.steps.seconds)}
        self.points.append({"step": step, **done, **{name: float(value) for name, value in values.items()}})

    def metric(self, name: str, value: float) -> None:
        """Record one value of a declared metric."""
        declared(name)
        self.metrics[name] = self._finite(f"metric '{name}'", value)

    def sample(self, name: str, values: Sequence[float]) -> None:
        """Record the raw samples behind a declared metric; further calls add to them."""
        declared(name)
        finite = [self._finite(f"sample of '{name}'", value) for value in values]
        self.samples.setdefault(name, []).extend(finite)

    def items(self, name: str, columns: Mapping[str, Sequence[Any]]) -> None:
        """Record per-item scores as equally long columns."""
        lengths = {len(column) for column in columns.values()}
        if len(lengths) > 1:
            raise InvalidMeasurement(f"columns of the items '{name}' have different lengths: {sorted(lengths)}")
        self.scored[name] = {key: [_plain(value) for value in column] for key, column in columns.items()}

    def observe(self, name: str, value: Any) -> None:
        """Record what is really there."""
        self.observed[name] = _plain(value)

    def flag(self, text: str) -> None:
        """Raise a validity flag, once."""
        if text not in self.flags:
            self.flags.append(text)

    def progress(self) -> None:
        """Tell the launcher that the step is alive, through the time stamp of the log."""
        if self._log is not None:
            with contextlib.suppress(OSError):
                os.utime(self._log)

    def libraries_loaded(self) -> None:
        """Note the memory of the interpreter and its libraries; called once, before any work."""
        self.runtime_memory_bytes = memory.resident_bytes()

    def training_begins(self, held_bytes: int) -> None:
        """Note the resident memory, ``held_bytes`` of which (the model) belong to the training that begins."""
        self._before_training = memory.resident_bytes() - held_bytes

    def model_loaded(self) -> None:
        """Note what an opened model takes: on GPUs, where one is in use, else above interpreter and libraries."""
        memory.return_free_memory()
        on_gpus = memory.cuda_held_bytes(self._gpu)
        resident = max(0, memory.resident_bytes() - self.runtime_memory_bytes)
        self.metric("loaded_memory_bytes", resident if on_gpus is None else on_gpus)

    def take_over(
        self, within: str, spans: Sequence[Mapping[str, Any]], steps: Mapping[str, Sequence[Any]],
        curve: Sequence[Mapping[str, float]], metrics: Mapping[str, float], observed: Mapping[str, Any],
        flags: Sequence[str],
    ) -> None:  # fmt: skip
        """Take over what was measured in other processes during the span ``within``, whose rest keeps its name.

        Rates and totals follow from ``steps``; of memory the given figures stand.
        """
        self.timeline.divide(within, spans)
        for seconds, *counts in zip(
            *(steps[name] for name in ("seconds", "tokens", "nonpadding_tokens", "loss_tokens")), strict=True
        ):
            self.steps.add(seconds, *counts)
        for step, loss in enumerate(steps["loss"], start=1):
            self.step_loss(step, loss)
        self.points = [dict(point) for point in curve]
        derived = {*RATES, "wall_seconds", "step_seconds", "train_tokens", *CONTENTION, *LOSS_ENDS}
        self._elsewhere = {name: value for name, value in metrics.items() if name not in derived}
        self.observed.update(observed)
        for text in flags:
            self.flag(text)

    def finish(self) -> dict[str, Any]:
        """Close everything and return the record's measured fields; ``invalid`` then says why not to believe them."""
        self.timeline.close_all()
        self.invalid = self.invalid or self.timeline.unexplained()
        try:
            self._derive_step_metrics()
        except InvalidMeasurement as error:
            self.invalid = self.invalid or str(error)
        self._derive_memory()
        if self._alone:
            self._judge_contention()
        self.metrics |= self._elsewhere
        return {
            "wall_seconds": self.timeline.wall_seconds(),
            "spans": [span.as_record() for span in self.timeline.spans.values()],
            "optimizer_steps": self.steps.as_record(),
            "curve": self.points,
            "metrics": self.metrics,
            "samples": self.samples,
            "items": self.scored,
            "observed": self.observed,
            "flags": self.flags,
        }

    def _derive_step_metrics(self) -> None:
        wall = self.timeline.wall_seconds()
        if sum(self.steps.seconds) > wall:
            raise InvalidMeasurement(f"optimiser steps take {sum(self.steps.seconds):.3f} s of {wall:.3f} s wall time")
        derived = self.steps.metrics()
        for name in (*RATES, "optimizer_steps", "train_tokens"):
            told = self.metrics.get(name)
            if told is not None and name in derived and not math.isclose(told, derived[name], rel_tol=1e-3):
                raise InvalidMeasurement(f"{name} was given as {told:.6g}, its steps say {derived[name]:.6g}")
        self.metrics = {**derived, **self._device_seconds(), **self.metrics, "wall_seconds": wall}
        # A policy's loss is made anew with each batch of its answers: it has nothing to fall towards.
        for text in self.steps.flags(falls="episodes" not in self.metrics):
            self.flag(text)

    def _device_seconds(self) -> dict[str, float]:
        """Median of the counted steps' seconds by CUDA events; ``InvalidMeasurement`` where both clocks disagree."""
        try:
            told = self._device.seconds()
        except RuntimeError as error:  # after an error a GPU answers nothing but that: the step says how it ended
            self.flag(one_line(f"the GPU's own step times could not be read: {error}"))
            return {}
        found = list(zip(told, self.steps.seconds, strict=False))[self.steps.warmup() :]
        pairs = [(device, wall) for device, wall in found if device is not None]
        if not pairs:
            return {}
        device, wall = (sum(column) for column in zip(*pairs, strict=True))
        if device > wall * (1 + CLOCKS_DIFFER):
            raise InvalidMeasurement(f"steps take {device:.3f} s by the GPU's events and {wall:.3f} s by the clock")
        self.samples["cuda_step_seconds"] = [one for one, _ in pairs]
        return {"cuda_step_seconds": statistics.median(one for one, _ in pairs)}

    def _gpu_states(self, name: str) -> dict[str, GpuState]:
        """What the GPUs say before or after a span that is worth it; it takes its time in a span of its own.

        What is generated within a training is a part of that.
        """
        is_part = name not in TRAINING and self.timeline.is_within(TRAINING)
        if name not in POWERED or is_part or not self._alone or memory.cuda() is None:
            return {}
        self.timeline.enter("inspect")
        try:
            return states()
        finally:
            self.timeline.leave("inspect")

    def _gpu_work(self, before: dict[str, GpuState], after: dict[str, GpuState], seconds: float) -> None:
        self._powered += 1
        self.observe("gpu_state", as_observed(after))
        joules = energy(before, after)
        if joules is not None and seconds >= SHORTEST_SECONDS:
            self.metric("gpu_energy_joules", joules)
            self.metric("gpu_power_watts", joules / seconds)

    def _derive_memory(self) -> None:
        if not self.timeline.can_reset:
            self.flag("memory peaks are those of the step so far: the kernel does not allow resetting them")
        self.metrics["runtime_memory_bytes"] = self.runtime_memory_bytes
        work = [span for span in self.timeline.spans.values() if span.name not in NOT_THE_WORK]
        if not work:
            return
        peak = max(span.own_peak_bytes for span in work)
        self.metrics["peak_memory_bytes"] = peak
        self.metrics["peak_memory_rise_bytes"] = max(0, peak - self.runtime_memory_bytes)
        if self._before_training is not None and (training := self.timeline.spans.get("train")) is not None:
            on_gpu = training.own_cuda
            rise = training.own_peak_bytes - self._before_training
            self.metrics["training_memory_bytes"] = max(0, rise if on_gpu is None else on_gpu["allocated_bytes"])
        for field, name in _CUDA_METRICS.items():
            values = [span.own_cuda[field] for span in work if span.own_cuda is not None]
            if values:
                self.metrics[name] = max(values)

    def _judge_contention(self) -> None:
        found = compare(self._before, usage(self._supervisors))
        self.metrics["contention_share"] = found.others_share
        if self._supervisors:
            self.metrics["supervisor_cpu_share"] = found.supervisor_share
        self.observe("steal_share", found.steal_share)
        self.observe("involuntary_switches_per_second", found.switches_per_second)
        for text in found.flags():
            self.flag(text)

    def _synchronize(self) -> None:
        """Wait for the GPU, where one is in use, so that its work falls into the span that asked for it."""
        module = memory.cuda()
        if module is not None:
            for device in memory.cuda_devices(module, self._gpu):
                module.synchronize(device)

    def _finite(self, what: str, value: float) -> float:
        """Return a finite number as float; otherwise the whole measurement is invalid, whatever the caller catches."""
        number = float(value)
        if not math.isfinite(number):
            self.invalid = f"{what} is {number}"
            raise InvalidMeasurement(self.invalid)
        return number


def _plain(value: Any) -> Any:
    """Turn arrays, scalars, paths and sets into what JSON can hold."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        return sorted(map(str, value))
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):
        return value.tolist()
    return value if isinstance(value, str | int | float | bool | type(None)) else str(value)
