"""``full_finetune``: every parameter is trained further."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.contract import KIND_OF_HEAD, Adapter, Checkpoint, Job, TrainingParams, TrainingSetup, param
from harness.errors import StepError

WRITTEN, READ = frozenset({"blank", "causal"}), frozenset({"blank", "causal", "masked", "seq2seq"})
KINDS = {"instructions": WRITTEN, "text_to_text": WRITTEN | {"seq2seq"}, "labels": READ, "choices": READ}
VIEWS = tuple(KINDS)


class FullFinetune(Adapter):
    """Trains all weights: on what is to be written (instructions, text to text), or below a head on labels or choices.

    A causal model's loss is on the answer alone; an encoder-decoder reads the source apart. A head stands on the mean
    of the last states, as in ``linear_probe``; of an encoder-decoder the encoder learns below it.
    """

    summary = "full fine-tuning"
    source = "the common baseline; Howard and Ruder 2018, arXiv:1801.06146"
    requires = ("torch", "transformers", "accelerate")
    gives = frozenset({"model"})

    @dataclass(frozen=True)
    class Params(TrainingParams):
        learning_rate: float = param(5e-4, "peak learning rate", low=0.0)
        view: str = param("instructions", "what it learns", choices=VIEWS)

    def __init__(self, params: Any) -> None:
        super().__init__(params)
        self.view = params.view
        self.kinds = KINDS[params.view]
        self.makes_kind = KIND_OF_HEAD.get(params.view)

    def train(self, job: Job) -> Checkpoint:
        """Train every parameter; an adapter that is already there is merged first."""
        from harness.models.fresh import with_weights
        from harness.training.heads import train_head
        from harness.training.stages import finetune
        from harness.training.text_to_text import finetune_encoder_decoder

        if self.makes_kind is not None:
            return train_head(job, self.params.view, frozen=False)
        if with_weights(job.checkpoint).kind == "seq2seq":
            return finetune_encoder_decoder(job)
        return finetune(job, _all_trainable, _save, part="model", view=self.params.view)

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
