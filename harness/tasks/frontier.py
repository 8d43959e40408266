"""``frontier``: the largest batch or the longest sequence whose training fits a memory cap, by bisection.

Each probe trains the stage for a few steps in a process of its own, on blocks that are full to the last token. The cap
is on what the process takes above what it begins with (its interpreter and libraries): a limit of the kernel on the
CPU, a fraction of the device on a GPU. Not fitting is the result that is looked for, never a failure.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from harness.contract import Budget, Job, Probe, TrainingParams, TrainingTask, param
from harness.errors import StepError, UsageError
from harness.training.setup import plain_setup

MIB = 2**20
STEPS = 3
LARGEST_UNIT = 1024  # sequences


class Frontier(TrainingTask):
    """Doubles what grows until it does not fit, then halves the interval down to the resolution."""

    summary = "largest batch or longest sequence whose training fits a memory cap"
    metrics = ("largest_batch", "longest_sequence", "frontier_tokens", "frontier_peak_bytes")

    @dataclass(frozen=True)
    class Params:
        grow: str = param(
            "batch", "what grows: sequences per step, or tokens per sequence", choices=("batch", "sequence")
        )
        cap_mebibytes: int = param(1024, "memory that a training may take above what it begins with", low=1)
        first: int | None = param(None, "what is tried first; 1 sequence, or 64 tokens, where not given", low=1)
        most: int = param(4096, "nothing larger is tried", low=1)
        multiple_of: int = param(1, "only multiples of this are tried; of an accumulation's parts in any case", low=1)
        resolution: float = param(0.1, "the answer is within this share below the true one", low=0.001, high=1.0)

    def score(self, scorer: Any, job: Job) -> None:
        """Probe until the border is known. ``scorer`` is the technique whose training is probed."""
        params, probes = self.params, _Search(self.params, job, _unit(self.params, scorer, job))
        with job.meter.span("probe"):
            largest = probes.border()
        job.meter.observe("probes", probes.told())
        if largest and largest + probes.unit > probes.most:
            which = "the model's context of " if probes.most < params.most else ""
            job.meter.flag(
                f"the largest {params.grow} that was tried still fits: the border lies beyond {which}{probes.most}"
            )
        at = _budget(job.budget, params.grow, largest)
        job.meter.metric("largest_batch" if params.grow == "batch" else "longest_sequence", largest)
        job.meter.metric("frontier_tokens", largest and at.batch_size * at.sequence_length)
        if largest:
            job.meter.metric("frontier_peak_bytes", probes.tried[largest].peak_bytes)


class _Search:
    """Probes of sizes that are multiples of ``unit``, each made once; ``most`` shrinks to what the model takes."""

    def __init__(self, params: Any, job: Job, unit: int) -> None:
        if job.probe is None:
            raise StepError("frontier needs a worker that can probe")
        self.params, self.job, self.unit, self.most = params, job, unit, params.most
        self.tried: dict[int, Probe] = {}

    def border(self) -> int:
        """The largest size that fits, 0 where not even the first one does."""
        first = self.params.first or (1 if self.params.grow == "batch" else 64)
        while True:
            try:
                start, most = max(1, first // self.unit), max(1, self.most // self.unit)
                return self.unit * search(self._fits, start, most, self.params.resolution)
            except _Beyond as found:
                self.most = found.context
                if self.most < self.unit:
                    return 0

    def told(self) -> list[dict[str, Any]]:
        """What was tried, in that order."""
        return [
            {"size": size, "status": found.status, "peak_bytes": found.peak_bytes, "reason": found.reason}
            for size, found in self.tried.items()
        ]

    def _fits(self, units: int) -> bool:
        size = units * self.unit
        if size not in self.tried:
            self.tried[size] = self._probed(size)
            self.job.meter.progress()
        found = self.tried[size]
        if found.status == "beyond_context":
            raise _Beyond(int(found.metrics["context"]))
        return found.fits

    def _probed(self, size: int) -> Probe:
        """The probe, with a failure that the limit alone causes taken for memory running out.

        A library does not always say that an allocation was refused: it may crash, hang or name something else. What
        then trains without the limit did not fit; what does not, failed for another reason, which says nothing about
        memory.
        """
        assert self.job.probe is not None
        grow, budget = self.params.grow, _budget(self.job.budget, self.params.grow, size)
        found: Probe = self.job.probe(budget, self.params.cap_mebibytes * MIB)
        if found.fits or found.status in ("out_of_memory", "beyond_context"):
            return found
        if self.job.probe(budget, None).fits:
            return replace(found, status="out_of_memory", reason=f"only under the limit: {found.reason}")
        raise StepError(f"the probe with {grow} {size} {found.status}: {found.reason}")


class _Beyond(Exception):
    """A sequence was longer than the model's context."""

    def __init__(self, context: int) -> None:
        super().__init__(context)
        self.context = context


def _unit(params: Any, adapter: Any, job: Job) -> int:
    """What sizes are multiples of: what is asked for, and of a batch what an accumulation cuts it into."""
    of = getattr(adapter, "params", None)
    if params.grow != "batch" or not isinstance(of, TrainingParams):
        return int(params.multiple_of)
    for size in range(1, LARGEST_UNIT + 1):
        with contextlib.suppress(UsageError):
            job.modify(plain_setup(of, replace(job.budget, batch_size=size), job.precision, STEPS))
            return math.lcm(params.multiple_of, size)
    raise StepError(f"no batch of at most {LARGEST_UNIT} sequences can be cut as the method asks")


def search(fits: Callable[[int], bool], start: int, most: int, resolution: float) -> int:
    """The largest size that fits, at least ``1 - resolution`` of the true one; 0 where not even ``start`` fits.

    Sizes double from ``start`` while they fit, none larger than ``most``; then the interval is halved.
    """
    good, size = 0, start
    while size <= most and fits(size):
        good, size = size, 2 * size
    if size > most:
        if good == most or fits(most):
            return most
        size = most
    if not good:
        return 0
    bad = size
    while bad - good > max(1, resolution * good):
        middle = (good + bad) // 2
        if fits(middle):
            good = middle
        else:
            bad = middle
    return good


def _budget(given: Budget, grow: str, size: int) -> Budget:
    short = replace(given, steps=STEPS, tokens=None, bytes=None, evaluations=0)
    return replace(short, **({"batch_size": size} if grow == "batch" else {"sequence_length": size}))
