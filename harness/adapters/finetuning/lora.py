"""``lora``: low-rank adapters through PEFT."""

from __future__ import annotations

from dataclasses import dataclass

from harness.contract import Adapter, Checkpoint, Job, TrainingParams, param


class Lora(Adapter):
    """Trains B (d x r) and A (r x k) beside frozen weights: h = Wx + (alpha / r) BAx."""

    summary = "low-rank adapters"
    source = "Hu et al. 2021, arXiv:2106.09685; library: peft"
    requires = ("torch", "transformers", "accelerate", "peft")
    gives = frozenset({"peft"})
    view = "instructions"

    @dataclass(frozen=True)
    class Params(TrainingParams):
        learning_rate: float = param(5e-3, "peak learning rate", low=0.0)
        rank: int = param(8, "rank r of the update", low=1)
        alpha: int | None = param(None, "scale numerator; twice the rank where not given", low=1)
        target_modules: str | None = param(
            None, "module names separated by commas, or all-linear; PEFT's table (query and value) where not given"
        )
        dropout: float = param(0.0, "dropout on the adapter's input", low=0.0, high=1.0)

    def train(self, job: Job) -> Checkpoint:
        """Train the adapters; the base weights stay as they are."""
        from harness.training.lora import add_lora, save_adapters
        from harness.training.stages import finetune

        return finetune(job, add_lora(self.params), save_adapters, part="peft")
