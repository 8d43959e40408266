"""``full_finetune``: every parameter is trained further."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.contract import KIND_OF_HEAD, Adapter, Checkpoint, Job, TrainingParams, TrainingSetup, param
from harness.errors import StepError


class FullFinetune(Adapter):
    """Trains all weights: on instructions with a loss on the answers, or below a linear head on labels or choices.

    The head stands on the mean of the last states, as in ``linear_probe``; of an encoder-decoder the encoder learns.
    """

    summary = "full fine-tuning"
    source = "the common baseline; Howard and Ruder 2018, arXiv:1801.06146"
    requires = ("torch", "transformers", "accelerate")
    gives = frozenset({"model"})

    @dataclass(frozen=True)
    class Params(TrainingParams):
        learning_rate: float = param(5e-4, "peak learning rate", low=0.0)
        view: str = param("instructions", "what it learns", choices=("instructions", "labels", "choices"))

    def __init__(self, params: Any) -> None:
        super().__init__(params)
        self.view = params.view
        self.makes_kind = KIND_OF_HEAD.get(params.view)
        if self.makes_kind is not None:
            self.kinds = frozenset({"causal", "masked", "seq2seq"})

    def train(self, job: Job) -> Checkpoint:
        """Train every parameter; an adapter that is already there is merged first."""
        from harness.training.heads import train_head
        from harness.training.stages import finetune

        if self.makes_kind is not None:
            return train_head(job, self.params.view, frozen=False)
        return finetune(job, _all_trainable, _save, part="model")

    def eval(self, job: Job) -> Any:
        """Open the model, with its head where it has one."""
        if self.makes_kind is None:
            return super().eval(job)
        from harness.models.pooled import PooledScorer

        return PooledScorer(job.checkpoint, job.precision, job.hardware)


def _all_trainable(model: Any, setup: TrainingSetup) -> Any:
    from harness.models.inspect import describe_model

    if quantized := describe_model(model)["quantized_layers"]:
        raise StepError(f"{', '.join(quantized)} weights cannot be trained: put full_finetune before the compression")
    return model.requires_grad_(True)


def _save(model: Any, folder: Path) -> None:
    model.save_pretrained(folder)
