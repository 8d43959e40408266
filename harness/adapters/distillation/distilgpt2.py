"""``distilgpt2``: DistilBERT's recipe for a decoder: alternate layers, soft targets, next tokens, hidden states."""

from __future__ import annotations

from dataclasses import dataclass

from harness.contract import Adapter, Checkpoint, Hardware, Job, TrainingParams, param


class DistilGpt2(Adapter):
    """The student has the teacher's width and alternate layers of it. Llama-like decoders are taken as well."""

    summary = "half a decoder, taught by the whole"
    source = "Sanh et al. 2019, arXiv:1910.01108, and the model card of distilgpt2; weights of the losses as published"
    requires = ("torch", "transformers", "accelerate")
    gives = frozenset({"model"})
    view = "text"

    @dataclass(frozen=True)
    class Params(TrainingParams):
        learning_rate: float = param(1e-2, "peak learning rate", low=0.0)
        optimizer: str = param("muon", "optimiser: Muon for matrices, or AdamW", choices=("adamw", "muon"))
        layers: int | None = param(None, "layers of the student; half of the teacher's where not given", low=1)
        temperature: float = param(2.0, "T of both softmaxes", low=0.01)
        soft_weight: float = param(5.0, "weight of the soft targets", low=0.0)
        hard_weight: float = param(0.5, "weight of the next-token loss", low=0.0)
        cosine_weight: float = param(1.0, "weight of the distance of last hidden states", low=0.0)

    def skip(self, precision: str, hardware: Hardware) -> str | None:
        """The loss is not summed over processes."""
        return "distilgpt2 trains in one process: give ranks: 1" if hardware.ranks > 1 else None

    def train(self, job: Job) -> Checkpoint:
        """Take alternate layers and train them on running text."""
        from harness.training.distilling import Weights, learn_from
        from harness.training.pretraining import causal_objective, pretrain
        from harness.training.students import StudentShape

        given = self.params
        weights = Weights(given.soft_weight, given.hard_weight, given.cosine_weight, given.temperature)
        return pretrain(job, causal_objective, learn_from(job, StudentShape(given.layers), weights, "causal"))
