"""``int4``: 4-bit storage through bitsandbytes, NF4 or FP4."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.contract import Adapter, Checkpoint, Job, param
from harness.memory.held import Held
from harness.plain_code import PlainCode, quantized_code


class Int4(Adapter):
    """Stores linear layers as 4-bit codes in blocks of 64, computing in the cell's precision."""

    summary = "4-bit weights (NF4 or FP4)"
    source = "Dettmers et al. 2023, arXiv:2305.14314; library: bitsandbytes"
    requires = ("torch", "transformers", "accelerate", "bitsandbytes")
    takes = frozenset({"model"})
    gives = frozenset({"model"})

    @dataclass(frozen=True)
    class Params:
        quant_type: str = param("nf4", "code book", choices=("nf4", "fp4"))
        double_quant: bool = param(False, "quantise the quantisation constants too")

    def holds(self, model: Held) -> Held:
        """Matrices of 4 bits, and for each 64 values a scale of 32, or of 8 and a share of a second one."""
        return model.stored(4 + (8 / 64 + 32 / (64 * 256) if self.params.double_quant else 32 / 64))

    def in_plain_code(self, setup: Mapping[str, Any]) -> PlainCode | None:
        """bitsandbytes through transformers."""
        params = self.params
        return quantized_code(
            f'load_in_4bit=True, bnb_4bit_quant_type="{params.quant_type}", '
            f"bnb_4bit_use_double_quant={params.double_quant}"
        )

    def compress(self, job: Job) -> Checkpoint:
        """Quantise the linear layers (adapters merged first) and save them as 4-bit."""
        from harness.models.quantization import four_bit, quantize

        return quantize(job, four_bit(self.params.quant_type, self.params.double_quant, job.precision))
