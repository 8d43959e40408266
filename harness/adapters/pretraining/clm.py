"""``clm``: causal language modelling, next-token prediction over packed text."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from harness.contract import Adapter, Checkpoint, Job, TrainingParams, param
from harness.memory.held import Held


class CausalLanguageModelling(Adapter):
    """Trains a decoder from fresh weights (on an architecture) or further (on a given model)."""

    summary = "causal language modelling"
    source = "Radford et al. 2018 (GPT); packed sequences as in Brown et al. 2020, arXiv:2005.14165"
    requires = ("torch", "transformers", "accelerate")
    takes = frozenset({"tokenizer"})
    gives = frozenset({"model"})
    kinds = frozenset({"blank", "causal"})
    makes_kind = "causal"
    architectures = frozenset({"llama", "gpt2"})
    view = "text"

    @dataclass(frozen=True)
    class Params(TrainingParams):
        learning_rate: float = param(1e-2, "peak learning rate", low=0.0)
        optimizer: str = param("muon", "optimiser: Muon for matrices, or AdamW", choices=("adamw", "muon"))
        loss_across_documents: bool = param(False, "a document's first token is predicted from the document before it")

    def holds(self, model: Held) -> Held:
        """Every weight learns."""
        return model.training()

    def train(self, job: Job) -> Checkpoint:
        """Train on packed blocks of the text view."""
        from harness.training.pretraining import causal_objective, pretrain

        return pretrain(job, partial(causal_objective, loss_across_documents=self.params.loss_across_documents))
