"""``distilbert``: half of a BERT, without token types and pooler, by soft targets, masked tokens and hidden states."""

from __future__ import annotations

from dataclasses import dataclass

from harness.contract import Adapter, Checkpoint, Hardware, Job, TrainingParams, param


class DistilBert(Adapter):
    """The student is transformers' DistilBERT, begun with alternate layers of the teacher."""

    summary = "half a BERT, taught by the whole"
    source = "Sanh et al. 2019, arXiv:1910.01108; weights of the losses as in the published training script"
    requires = ("torch", "transformers", "accelerate")
    kinds = frozenset({"masked"})
    makes_kind = "masked"
    gives = frozenset({"model"})
    view = "text"

    @dataclass(frozen=True)
    class Params(TrainingParams):
        learning_rate: float = param(1e-2, "peak learning rate", low=0.0)
        optimizer: str = param("muon", "optimiser: Muon for matrices, or AdamW", choices=("adamw", "muon"))
        layers: int | None = param(None, "layers of the student; half of the teacher's where not given", low=1)
        mask_share: float = param(0.15, "share of tokens that are hidden", low=0.0, high=1.0)
        whole_word: bool = param(False, "hide all tokens of a word together")
        temperature: float = param(2.0, "T of both softmaxes", low=0.01)
        soft_weight: float = param(5.0, "weight of the soft targets", low=0.0)
        hard_weight: float = param(2.0, "weight of the masked-token loss", low=0.0)
        cosine_weight: float = param(1.0, "weight of the distance of last hidden states", low=0.0)

    def skip(self, precision: str, hardware: Hardware) -> str | None:
        """The loss is not summed over processes."""
        return "distilbert trains in one process: give ranks: 1" if hardware.ranks > 1 else None

    def train(self, job: Job) -> Checkpoint:
        """Take alternate layers and train them on masked text."""
        from harness.training.distilling import Weights, learn_from
        from harness.training.masking import masked_objective
        from harness.training.pretraining import pretrain
        from harness.training.students import StudentShape

        given = self.params
        weights = Weights(given.soft_weight, given.hard_weight, given.cosine_weight, given.temperature)
        shape = StudentShape(given.layers, family="distilbert")
        return pretrain(job, masked_objective, learn_from(job, shape, weights, "masked"))
