"""``distilbert``: half of a BERT, without token types and pooler, by soft targets, masked tokens and hidden states."""

from __future__ import annotations

from dataclasses import dataclass

from harness.contract import Checkpoint, Job, param
from harness.memory.held import Held
from harness.training.taught import RecipeParams, Taught


class DistilBert(Taught):
    """The student is transformers' DistilBERT, begun with alternate layers of the teacher."""

    summary = "half a BERT, taught by the whole"
    source = "Sanh et al. 2019, arXiv:1910.01108; weights of the losses as in the published training script"
    kinds = frozenset({"masked"})
    makes_kind = "masked"
    view = "text"

    @dataclass(frozen=True)
    class Params(RecipeParams):
        hard_weight: float = param(2.0, "weight of the masked-token loss", low=0.0)
        mask_share: float = param(0.15, "share of tokens that are hidden", low=0.0, high=1.0)
        whole_word: bool = param(False, "hide all tokens of a word together")

    def holds(self, model: Held) -> Held:
        """Half the layers learn, beside the teacher where one is asked."""
        params = self.params
        student = model.resized(layers=params.layers).without_types().training()
        weights = {"hard": params.hard_weight, "soft": params.soft_weight, "cosine": params.cosine_weight}
        return student.taught_by(model.shape, **weights)

    def train(self, job: Job) -> Checkpoint:
        """Take alternate layers and train them on masked text."""
        from harness.training.distilling import Weights, learn_from
        from harness.training.masking import masked_objective
        from harness.training.pretraining import pretrain
        from harness.training.students import StudentShape

        shape = StudentShape(self.params.layers, family="distilbert")
        return pretrain(job, masked_objective, learn_from(job, shape, Weights.of(self.params), "masked"))
