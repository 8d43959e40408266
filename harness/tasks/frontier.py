"""``frontier``: the largest batch or the longest sequence whose training fits a memory cap, by bisection.

Each probe trains the stage for a few steps in a process of its own, on blocks that are full to the last token. The cap
is on what the process takes above what it begins with (its interpreter and libraries): a limit of the kernel on the
CPU, a fraction of the device on a GPU. Not fitting is the result that is looked for, never a failure.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from harness.contract import Budget, Job, Probe, TrainingTask, param
from harness.errors import StepError

MIB = 2**20
STEPS = 3


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
        multiple_of: int = param(1, "only multiples of this are tried (of the micro-batches of an accumulation)", low=1)
        resolution: float = param(0.1, "the answer is within this share below the true one", low=0.001, high=1.0)

    def score(self, scorer: Any, job: Job) -> None:
        """Probe until the border is known."""
        params, probe = self.params, job.probe
        if probe is None:
            raise StepError("frontier needs a worker that can probe")
        tried: list[dict[str, Any]] = []

        def fits(units: int) -> bool:
            size = units * params.multiple_of
            budget = _budget(job.budget, params.grow, size)
            limited = probe(budget, params.cap_mebibytes * MIB)
            found = _told_apart(limited, lambda: probe(budget, None), params.grow, size)
            tried.append({"size": size, "status": found.status, "peak_bytes": found.peak_bytes, "reason": found.reason})
            job.meter.progress()
            return found.fits

        start = params.first or (1 if params.grow == "batch" else 64)
        with job.meter.span("probe"):
            unit = params.multiple_of
            largest = unit * search(fits, max(1, start // unit), max(1, params.most // unit), params.resolution)
        job.meter.observe("probes", tried)
        if largest + params.multiple_of > params.most:
            job.meter.flag(f"the largest {params.grow} that was tried still fits: the border lies beyond {params.most}")
        at = _budget(job.budget, params.grow, largest)
        job.meter.metric("largest_batch" if params.grow == "batch" else "longest_sequence", largest)
        job.meter.metric("frontier_tokens", largest and at.batch_size * at.sequence_length)
        peaks = [one["peak_bytes"] for one in tried if one["size"] == largest]
        if peaks:
            job.meter.metric("frontier_peak_bytes", peaks[0])


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


def _told_apart(found: Probe, without_limit: Callable[[], Probe], grow: str, size: int) -> Probe:
    """The probe, with a failure that the limit alone causes taken for memory running out.

    A library does not always say that an allocation was refused: it may crash, hang or name something else. What then
    trains without the limit did not fit; what does not, failed for another reason, which says nothing about memory.
    """
    if found.fits or found.status == "out_of_memory":
        return found
    if without_limit().fits:
        return replace(found, status="out_of_memory", reason=f"only under the limit: {found.reason}")
    raise StepError(f"the probe with {grow} {size} {found.status}: {found.reason}")
