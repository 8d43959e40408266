"""``full_finetune``: every parameter is trained further."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.contract import Adapter, Checkpoint, Job, TrainingParams, TrainingSetup, param
from harness.errors import StepError


class FullFinetune(Adapter):
    """Trains all weights on instructions, with a loss on the answers."""

    summary = "full fine-tuning"
    source = "the common baseline; Howard and Ruder 2018, arXiv:1801.06146"
    requires = ("torch", "transformers", "accelerate")
    gives = frozenset({"model"})
    view = "instructions"

    @dataclass(frozen=True)
    class Params(TrainingParams):
        learning_rate: float = param(5e-4, "peak learning rate", low=0.0)

    def train(self, job: Job) -> Checkpoint:
        """Train every parameter; an adapter that is already there is merged first."""
        from harness.training.stages import finetune

        return finetune(job, _all_trainable, _save, part="model")


def _all_trainable(model: Any, setup: TrainingSetup) -> Any:
    from harness.models.inspect import describe_model

    if quantized := describe_model(model)["quantized_layers"]:
        raise StepError(f"{', '.join(quantized)} weights cannot be trained: put full_finetune before the compression")
    return model.requires_grad_(True)


def _save(model: Any, folder: Path) -> None:
    model.save_pretrained(folder)
