"""``int8``: LLM.int8() through bitsandbytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.contract import Adapter, Checkpoint, Job, param
from harness.memory.held import Held
from harness.plain_code import PlainCode, quantized_code


class Int8(Adapter):
    """Stores linear layers as 8-bit integers per row; features above the threshold are multiplied in 16 bits."""

    summary = "LLM.int8(): vector-wise 8-bit integers with outlier decomposition"
    source = "Dettmers et al. 2022, arXiv:2208.07339; library: bitsandbytes"
    requires = ("torch", "transformers", "accelerate", "bitsandbytes")
    takes = frozenset({"model"})
    gives = frozenset({"model"})

    @dataclass(frozen=True)
    class Params:
        threshold: float = param(6.0, "features of at least this magnitude are outliers", low=0.0)

    def holds(self, model: Held) -> Held:
        """Matrices of 8 bits, and a scale in 32 for each row."""
        return model.stored(8, row_bits=32)

    def in_plain_code(self, setup: Mapping[str, Any]) -> PlainCode | None:
        """bitsandbytes through transformers."""
        return quantized_code(f"load_in_8bit=True, llm_int8_threshold={self.params.threshold}")

    def compress(self, job: Job) -> Checkpoint:
        """Quantise the linear layers (adapters merged first) and save them as 8-bit."""
        from harness.models.quantization import eight_bit, quantize

        return quantize(job, eight_bit(self.params.threshold))
