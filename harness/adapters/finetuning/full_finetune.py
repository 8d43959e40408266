"""``full_finetune``: every parameter is trained further."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.contract import Job, TrainingParams, param
from harness.memory.held import Held
from harness.plain_code import PlainCode, trained
from harness.training.finetuning import KINDS_OF_VIEW, FineTuning


class FullFinetune(FineTuning):
    """Trains all weights: on what is to be written (instructions, text to text), or below a head on labels or choices.

    A causal model's loss is on the answer alone; an encoder-decoder reads the source apart. A head stands on the mean
    of the last states, as in ``linear_probe``; of an encoder-decoder the encoder learns below it. On an architecture
    alone it trains from fresh weights, which shows what any pre-training is worth.
    """

    summary = "full fine-tuning"
    source = "the common baseline; Howard and Ruder 2018, arXiv:1801.06146"
    requires = ("torch", "transformers", "accelerate")
    gives = frozenset({"model"})

    @dataclass(frozen=True)
    class Params(TrainingParams):
        learning_rate: float = param(5e-4, "peak learning rate", low=0.0)
        view: str = param("instructions", "what it learns", choices=tuple(KINDS_OF_VIEW))

    def kinds_for(self, view: str) -> frozenset[str]:
        """Every kind that can learn the view, and architectures alone."""
        return super().kinds_for(view) | {"blank"}

    def holds(self, model: Held) -> Held:
        """Every weight learns."""
        return model.training(view=self.params.view)

    def in_plain_code(self, setup: Mapping[str, Any]) -> PlainCode | None:
        """transformers' Trainer on the whole model."""
        return trained("model = AutoModelForCausalLM.from_pretrained(source)", (), setup)

    def change(self, job: Job) -> Any:
        """Every parameter learns."""
        from harness.training.change import all_weights

        return all_weights()
