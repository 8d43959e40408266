"""``seq2seq``: denoising, an encoder-decoder restores corrupted text."""

from __future__ import annotations

from dataclasses import dataclass

from harness.contract import Adapter, Checkpoint, Job, TrainingParams, param
from harness.memory.held import Held


class Denoising(Adapter):
    """Trains an encoder-decoder from fresh weights (on an architecture) or further (on a given one).

    The objective does not depend on the architecture: each can be trained by either. The stage adds the sentinels or
    the mask token that its objective needs to the tokenizer, and saves it beside the model.
    """

    summary = "denoising: span corruption (T5) or text infilling (BART)"
    source = "Raffel et al. 2020 (T5), arXiv:1910.10683; Lewis et al. 2020 (BART), arXiv:1910.13461"
    requires = ("torch", "transformers", "accelerate")
    takes = frozenset({"tokenizer"})
    gives = frozenset({"tokenizer", "model"})
    kinds = frozenset({"blank", "seq2seq"})
    makes_kind = "seq2seq"
    architectures = frozenset({"t5", "bart"})
    view = "text"

    @dataclass(frozen=True)
    class Params(TrainingParams):
        learning_rate: float = param(1e-2, "peak learning rate", low=0.0)
        optimizer: str = param("muon", "optimiser: Muon for matrices, or AdamW", choices=("adamw", "muon"))
        objective: str = param(
            "span_corruption",
            "what is restored: the spans that sentinels stand for (T5), or the whole text (BART)",
            choices=("span_corruption", "text_infilling"),
        )
        density: float | None = param(
            None, "share of the tokens that are hidden; 0.15 for spans, 0.3 for infilling where not given",
            low=0.01, high=0.9,
        )  # fmt: skip
        mean_span_length: float = param(3.0, "mean length of a hidden span in tokens", low=1.0)
        permute: bool = param(True, "text infilling also permutes the lines of each document")

    def holds(self, model: Held) -> Held:
        """Every weight learns; the target of spans is what was hidden, with a sentinel for each span."""
        params = self.params
        if params.objective == "text_infilling":
            return model.training()
        density = params.density or 0.15
        return model.training(target_share=min(1.0, density * (1 + 1 / params.mean_span_length)))

    def train(self, job: Job) -> Checkpoint:
        """Train on packed blocks of the text view, corrupted anew at every step."""
        from harness.training.denoising import denoising_objective
        from harness.training.pretraining import pretrain

        return pretrain(job, denoising_objective)
