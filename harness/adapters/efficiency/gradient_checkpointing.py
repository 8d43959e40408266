"""``gradient_checkpointing``: activations are computed again in the backward pass instead of being kept."""

from __future__ import annotations

from dataclasses import replace

from harness.contract import Modifier, TrainingSetup


class GradientCheckpointing(Modifier):
    """Keeps each layer's input only; one more forward pass for less memory."""

    summary = "recompute activations in the backward pass"
    source = "Chen et al. 2016, arXiv:1604.06174; through transformers"
    requires = ("torch", "transformers")

    def modify(self, setup: TrainingSetup) -> TrainingSetup:
        """Switch recomputation on."""
        return replace(setup, gradient_checkpointing=True)
