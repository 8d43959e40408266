"""``mlm``: masked language modelling, hidden tokens predicted from both sides."""

from __future__ import annotations

from dataclasses import dataclass

from harness.contract import Adapter, Checkpoint, Job, TrainingParams, param
from harness.memory.held import Held


class MaskedLanguageModelling(Adapter):
    """Trains an encoder from fresh weights (on an architecture) or further (on a given masked model).

    Text is packed as for ``clm``, without next-sentence prediction; attention sees all of a block. The stage adds a
    mask token to the tokenizer and saves it beside the model.
    """

    summary = "masked language modelling"
    source = "Devlin et al. 2019 (BERT), arXiv:1810.04805; new masks at every step as in arXiv:1907.11692"
    requires = ("torch", "transformers", "accelerate")
    takes = frozenset({"tokenizer"})
    gives = frozenset({"tokenizer", "model"})
    kinds = frozenset({"blank", "masked"})
    makes_kind = "masked"
    architectures = frozenset({"bert"})
    view = "text"

    @dataclass(frozen=True)
    class Params(TrainingParams):
        learning_rate: float = param(1e-2, "peak learning rate", low=0.0)
        optimizer: str = param("muon", "optimiser: Muon for matrices, or AdamW", choices=("adamw", "muon"))
        mask_share: float = param(0.15, "share of the tokens that are chosen to be predicted", low=0.01, high=0.9)
        whole_word: bool = param(False, "choose whole words instead of single tokens")

    def holds(self, model: Held) -> Held:
        """Every weight learns."""
        return model.training()

    def train(self, job: Job) -> Checkpoint:
        """Train on packed blocks of the text view, masked anew at every step."""
        from harness.training.masking import masked_objective
        from harness.training.pretraining import pretrain

        return pretrain(job, masked_objective)
