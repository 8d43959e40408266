"""``qlora``: low-rank adapters over a base that stays in 4 bits, through PEFT and bitsandbytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.contract import Hardware, Job, param
from harness.memory.held import Held
from harness.plain_code import PlainCode, low_rank_code
from harness.training.finetuning import FineTuning, FineTuningParams


class QLora(FineTuning):
    """Quantises the frozen base to 4 bits while loading and trains LoRA over it."""

    summary = "low-rank adapters over a 4-bit base"
    source = "Dettmers et al. 2023, arXiv:2305.14314; libraries: peft, bitsandbytes"
    requires = ("torch", "transformers", "accelerate", "peft", "bitsandbytes")
    gives = frozenset({"peft"})
    # 1: until then bitsandbytes dropped gradients after the first evaluation on CPUs with AVX512-BF16.
    revision = 1

    @dataclass(frozen=True)
    class Params(FineTuningParams):
        learning_rate: float = param(5e-3, "peak learning rate", low=0.0)
        optimizer: str = param(
            "adamw", "optimiser; paged_adamw (GPU) moves its state to the host under pressure, of tensors with 100,000 "
            "values or more: of narrow adapters nothing",
            choices=("adamw", "muon", "paged_adamw"),
        )  # fmt: skip
        rank: int = param(8, "rank r of the update", low=1)
        alpha: int | None = param(None, "scale numerator; twice the rank where not given", low=1)
        target_modules: str = param("all-linear", "module names, separated by commas, or all-linear (the paper's)")
        dropout: float = param(0.0, "dropout on the adapter's input", low=0.0, high=1.0)
        quant_type: str = param("nf4", "4-bit type of the base", choices=("nf4", "fp4"))
        double_quant: bool = param(True, "quantise the quantisation constants too")
        compute_type: str | None = param(
            None, "type that 4-bit products are computed in; the cell's where not given",
            choices=("float32", "bfloat16", "float16"), neutral=None,
        )  # fmt: skip

    def skip(self, precision: str, hardware: Hardware) -> str | None:
        """A paged optimiser needs the unified memory of a GPU."""
        if self.params.optimizer == "paged_adamw" and hardware.device != "cuda":
            return "optimizer=paged_adamw pages GPU memory: it needs hardware cuda"
        return None

    def holds(self, model: Held) -> Held:
        """A base of 4 bits and a scale for each 64 values; PEFT casts what is not quantised to 32 bits."""
        params = self.params
        scales = 8 / 64 + 32 / (64 * 256) if params.double_quant else 32 / 64
        base = model.stored(4 + scales, compute_in_fp32=True)
        return base.with_low_rank(params.rank, params.target_modules, dropout=params.dropout, view=params.view)

    def in_plain_code(self, setup: Mapping[str, Any]) -> PlainCode | None:
        """A 4-bit base of bitsandbytes below PEFT's LoRA."""
        params = self.params
        compute = params.compute_type or ("float32" if setup["precision"] == "fp32" else "bfloat16")
        base = f'quant_type="{params.quant_type}", double={params.double_quant}, compute="{compute}"'
        return low_rank_code(params, setup, quantized=base)

    def change(self, job: Job) -> Any:
        """The adapters learn over the 4-bit base; the checkpoint remembers how its base is quantised."""
        from harness.models.quantization import four_bit
        from harness.training.lora import low_rank

        params = self.params
        recipe = four_bit(params.quant_type, params.double_quant, job.precision, params.compute_type)
        return low_rank(params, recipe=recipe)
