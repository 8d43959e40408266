"""``training_memory``: what a few steps of a training take in memory, beside what the memory model predicts.

The stage is trained in processes of its own, on blocks that are full to the last token. One has the heap of the system
as it is; on a CPU another gives every freed tensor back at once, so that its peak is that of the tensors. The
difference is what the heap keeps of freed memory in pieces that nothing fits.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from harness.contract import Job, Probe, TrainingTask, param
from harness.errors import DoesNotFit, StepError


class TrainingMemory(TrainingTask):
    """Trains for a few steps and keeps nothing but the figures."""

    summary = "memory of a training, measured and predicted"
    metrics = ("training_memory_bytes", "tensor_memory_bytes", "predicted_memory_bytes")

    @dataclass(frozen=True)
    class Params:
        steps: int = param(4, "optimiser steps", low=2)

    def score(self, scorer: object, job: Job) -> None:
        """Probe with the heap as it is, and on a CPU with one that keeps nothing."""
        if job.probe is None:
            raise StepError("training_memory needs a worker that can probe")
        budget = replace(job.budget, steps=self.params.steps, tokens=None, bytes=None, evaluations=0)
        with job.meter.span("probe"):
            as_it_is = _done(job.probe(budget, None))
            job.meter.progress()
            on_gpu = job.hardware.device == "cuda"
            tensors = as_it_is if on_gpu else _done(job.probe(budget, None, give_back=True))
        job.meter.metric("training_memory_bytes", as_it_is.metrics["training_memory_bytes"])
        job.meter.metric("tensor_memory_bytes", tensors.metrics["training_memory_bytes"])
        if "predicted_memory_bytes" in as_it_is.metrics:
            job.meter.metric("predicted_memory_bytes", as_it_is.metrics["predicted_memory_bytes"])
            job.meter.observe("predicted_memory", as_it_is.observed["predicted_memory"])


def _done(found: Probe) -> Probe:
    if found.status == "out_of_memory":
        raise DoesNotFit(found.reason or "the probe ran out of memory")
    if not found.fits or "training_memory_bytes" not in found.metrics:
        raise StepError(f"the probe {found.status}: {found.reason or 'it measured no training'}")
    return found
