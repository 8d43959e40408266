"""``qlora``: low-rank adapters over a base that stays in 4 bits, through PEFT and bitsandbytes."""

from __future__ import annotations

from dataclasses import dataclass

from harness.contract import Adapter, Checkpoint, Job, TrainingParams, param


class QLora(Adapter):
    """Quantises the frozen base to 4 bits while loading and trains LoRA over it."""

    summary = "low-rank adapters over a 4-bit base"
    source = "Dettmers et al. 2023, arXiv:2305.14314; libraries: peft, bitsandbytes"
    requires = ("torch", "transformers", "accelerate", "peft", "bitsandbytes")
    gives = frozenset({"peft"})
    view = "instructions"

    @dataclass(frozen=True)
    class Params(TrainingParams):
        learning_rate: float = param(5e-3, "peak learning rate", low=0.0)
        rank: int = param(8, "rank r of the update", low=1)
        alpha: int | None = param(None, "scale numerator; twice the rank where not given", low=1)
        target_modules: str = param("all-linear", "module names, separated by commas, or all-linear (the paper's)")
        dropout: float = param(0.0, "dropout on the adapter's input", low=0.0, high=1.0)
        quant_type: str = param("nf4", "4-bit type of the base", choices=("nf4", "fp4"))
        double_quant: bool = param(True, "quantise the quantisation constants too")

    def train(self, job: Job) -> Checkpoint:
        """Train the adapters over the 4-bit base; the checkpoint remembers how its base is quantised."""
        from harness.models.quantization import four_bit
        from harness.training.lora import add_lora, save_adapters
        from harness.training.stages import finetune

        recipe = four_bit(self.params.quant_type, self.params.double_quant, job.precision)
        return finetune(
            job, add_lora(self.params, quantized=True), save_adapters, part="peft",
            quantization=recipe.config, opened_by={"quantization": recipe.options},
        )  # fmt: skip
