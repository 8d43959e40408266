"""``linear_probe``: a linear layer over a frozen model's mean state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from harness.contract import KIND_OF_HEAD, Adapter, Checkpoint, Job, TrainingParams, param
from harness.memory.held import Held


class LinearProbe(Adapter):
    """Shows what a model's representations hold: nothing but the layer on top learns.

    The states of the last layer are averaged over the tokens of the text, of the encoder where there is a decoder too,
    so that every architecture is probed alike. An architecture alone is probed with fresh weights: the control that
    what was learnt must beat.
    """

    summary = "linear layer over a frozen model"
    source = "Alain and Bengio 2016, arXiv:1610.01644"
    requires = ("torch", "transformers", "accelerate")
    gives = frozenset({"model"})
    kinds = frozenset({"blank", "causal", "masked", "seq2seq"})

    @dataclass(frozen=True)
    class Params(TrainingParams):
        learning_rate: float = param(1e-2, "peak learning rate", low=0.0)
        view: str = param("labels", "what it learns: classes, or the right option", choices=("labels", "choices"))

    def __init__(self, params: Any) -> None:
        super().__init__(params)
        self.view = params.view
        self.makes_kind = KIND_OF_HEAD[params.view]

    def holds(self, model: Held) -> Held:
        """A layer on top learns: no gradient goes through the model."""
        return model.with_head_alone()

    def train(self, job: Job) -> Checkpoint:
        """Train the layer on the view's training split."""
        from harness.training.heads import train_head

        return train_head(job, None, self.params.view)

    def eval(self, job: Job) -> Any:
        """Open the model with its layer."""
        from harness.models.pooled import PooledScorer

        return PooledScorer(job.checkpoint, job.precision, job.hardware)
