"""``sft``: supervised fine-tuning on answers, the first stage of an alignment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.contract import Checkpoint, Job, param
from harness.memory.held import Held
from harness.plain_code import PlainCode, aligned_code
from harness.training.aligned import Aligned, PairParams


class Sft(Aligned):
    """Loss on the answers alone; of preference pairs, the answers that were preferred."""

    summary = "supervised fine-tuning on answers"
    source = "Ouyang et al. 2022, arXiv:2203.02155, step 1; library: trl"
    gives = frozenset({"model"})

    @dataclass(frozen=True)
    class Params(PairParams):
        learning_rate: float = param(1e-3, "peak learning rate", low=0.0)
        view: str = param("instructions", "what it learns", choices=("instructions", "pairs"))
        packing: bool = param(False, "answers one after another in blocks of the sequence length, cut where they end")

    def __init__(self, params: Params) -> None:
        super().__init__(params)
        self.view = params.view

    def holds(self, model: Held) -> Held:
        """Every weight learns."""
        return model.training()

    def in_plain_code(self, setup: Mapping[str, Any]) -> PlainCode | None:
        """TRL's trainer."""
        options = {"max_length": setup["sequence_length"], "packing": self.params.packing}
        return aligned_code("SFTTrainer", "SFTConfig", setup, "prompt and completion, or text", options)

    def train(self, job: Job) -> Checkpoint:
        """Train every weight."""
        from harness.training.alignment import supervised

        return supervised(job, self.params.view, self.params.packing)
