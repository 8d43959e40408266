"""``gradient_accumulation``: one optimiser step over several smaller batches."""

from __future__ import annotations

from dataclasses import dataclass, replace

from harness.contract import Modifier, TrainingSetup, param
from harness.errors import UsageError


class GradientAccumulation(Modifier):
    """Cuts each batch into ``steps`` micro-batches whose gradients are summed: the same batch in less memory.

    The loss is the mean over the tokens of the whole batch, however unequal its parts are (transformers #34191).
    """

    summary = "sum the gradients of micro-batches"
    source = "transformers issue 34191 (2024) on token-weighted losses; through transformers' Trainer"
    requires = ("torch", "transformers")

    @dataclass(frozen=True)
    class Params:
        steps: int = param(4, "micro-batches of each batch", low=2)

    def modify(self, setup: TrainingSetup) -> TrainingSetup:
        """Divide the batch."""
        if setup.micro_batch_size % self.params.steps:
            raise UsageError(f"{self.params.steps} steps do not divide a batch of {setup.micro_batch_size} sequences")
        return replace(setup, micro_batch_size=setup.micro_batch_size // self.params.steps)
