"""``dpo``: direct preference optimisation, which learns from pairs without a reward model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.contract import Checkpoint, Job, param
from harness.memory.held import Held
from harness.plain_code import PlainCode, aligned_code
from harness.training.aligned import Aligned, PairParams


class Dpo(Aligned):
    """Raises the likelihood of preferred answers over the others, relative to what the model was before.

    With a ``rank`` low-rank adapters learn, and the reference is the model below them instead of a copy.
    """

    summary = "preferences without a reward model"
    source = "Rafailov et al. 2023, arXiv:2305.18290; IPO: Azar et al. 2023, arXiv:2310.12036; library: trl"

    gives = frozenset({"model", "reference"})

    @dataclass(frozen=True)
    class Params(PairParams):
        learning_rate: float = param(1e-4, "peak learning rate", low=0.0)
        beta: float = param(0.1, "weight of staying near the reference", low=0.0)
        loss: str = param("sigmoid", "DPO's own loss, or IPO's", choices=("sigmoid", "ipo"))
        rank: int | None = param(None, "rank of LoRA adapters; every weight learns where not given", low=1)
        alpha: int | None = param(None, "LoRA's scale numerator; twice the rank where not given", low=1)
        target_modules: str | None = param("all-linear", "modules that LoRA adapts; PEFT's table where none")
        dropout: float = param(0.0, "dropout on the adapters' input", low=0.0, high=1.0)

    def __init__(self, params: Params) -> None:
        super().__init__(params)
        if params.rank is not None:
            self.gives = frozenset({"peft", "reference"})

    def holds(self, model: Held) -> Held:
        """The policy learns on two answers at a time, beside its reference: a copy, or what is below its adapters."""
        params = self.params
        if params.rank is not None:
            return model.with_low_rank(params.rank, params.target_modules, dropout=params.dropout, sequences=2)
        return model.training(sequences=2).next_to(model.shape)

    def in_plain_code(self, setup: Mapping[str, Any]) -> PlainCode | None:
        """TRL's trainer, which copies the policy for its reference."""
        options = {"beta": self.params.beta, "loss_type": [self.params.loss], "max_length": setup["sequence_length"]}
        wrapped = "" if self.params.rank is None else (
            f'LoraConfig(r={self.params.rank}, lora_alpha={self.params.alpha or 2 * self.params.rank}, '
            f'target_modules={self.params.target_modules!r}, task_type="CAUSAL_LM")'
        )  # fmt: skip
        return aligned_code("DPOTrainer", "DPOConfig", setup, "prompt, chosen and rejected", options, wrapped)

    def train(self, job: Job) -> Checkpoint:
        """Train on the pairs against what the model was."""
        from harness.training.alignment import direct_preference
        from harness.training.lora import add_lora

        given = self.params
        adapters = None if given.rank is None else add_lora(given, {})
        return direct_preference(job, given.half, given.beta, given.loss, adapters)
