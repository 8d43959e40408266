"""``meter_overhead``: what a training step of the harness costs more than the same step in a plain PyTorch loop.

Both are taken in this process, one after the other in turns, on a small model of their own. The share falls as steps
grow, so the seconds of a step are told with it.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from harness.contract import HarnessTask, Job, param


class MeterOverhead(HarnessTask):
    """Trains both ways in turns and compares each metered step with the plain one before it."""

    summary = "what the training loop and the meter add to a plain PyTorch step"
    requires = ("torch", "transformers", "accelerate", "tokenizers")
    metrics = ("meter_overhead_share",)

    @dataclass(frozen=True)
    class Params:
        steps: int = param(40, "counted steps each way, after some that are not", low=1)

    def score(self, scorer: object, job: Job) -> None:
        """Take the steps and hand over the share of each pair."""
        from harness.training.overhead import pairs

        apart = type(job.meter)()  # what this training takes is nobody's result
        found = pairs(job.meter, apart, job.hardware, job.output, self.params.steps)
        shares = [one.share for one in found]
        job.meter.sample("meter_overhead_share", shares)
        job.meter.metric("meter_overhead_share", statistics.median(shares))
        medians = {name: statistics.median(getattr(one, name) for one in found) for name in ("plain", "metered")}
        job.meter.observe("step_seconds", medians)
