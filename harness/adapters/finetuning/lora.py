"""``lora``: low-rank adapters through PEFT."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.contract import Job, param
from harness.memory.held import Held
from harness.plain_code import PlainCode, low_rank_code
from harness.training.finetuning import FineTuning, FineTuningParams


class Lora(FineTuning):
    """Trains B (d x r) and A (r x k) beside frozen weights: h = Wx + (alpha / r) BAx."""

    summary = "low-rank adapters"
    source = "Hu et al. 2021, arXiv:2106.09685; rsLoRA arXiv:2312.03732; DoRA arXiv:2402.09353; library: peft"
    requires = ("torch", "transformers", "accelerate", "peft")
    gives = frozenset({"peft"})

    @dataclass(frozen=True)
    class Params(FineTuningParams):
        learning_rate: float = param(5e-3, "peak learning rate", low=0.0)
        rank: int = param(8, "rank r of the update", low=1)
        alpha: int | None = param(None, "scale numerator; twice the rank where not given", low=1)
        target_modules: str | None = param(
            None, "module names separated by commas, or all-linear; PEFT's table (query and value) where not given"
        )
        dropout: float = param(0.0, "dropout on the adapter's input", low=0.0, high=1.0)
        rank_stabilized: bool = param(False, "scale by alpha / sqrt(r) instead of alpha / r (rsLoRA)", neutral=False)
        dora: bool = param(False, "learn the magnitude of each weight's columns apart (DoRA)", neutral=False)

    def holds(self, model: Held) -> Held:
        """A and B learn beside the targets; the rest is only held."""
        params = self.params
        return model.with_low_rank(
            params.rank, params.target_modules, dora=params.dora, dropout=params.dropout, view=params.view
        )

    def in_plain_code(self, setup: Mapping[str, Any]) -> PlainCode | None:
        """PEFT's LoRA below transformers' Trainer."""
        return low_rank_code(self.params, setup, rslora=self.params.rank_stabilized, dora=self.params.dora)

    def change(self, job: Job) -> Any:
        """The adapters learn; the base weights stay as they are."""
        from harness.training.lora import low_rank

        return low_rank(self.params, rank_stabilized=self.params.rank_stabilized, dora=self.params.dora)
