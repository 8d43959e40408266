"""``int8``: LLM.int8() through bitsandbytes."""

from __future__ import annotations

from dataclasses import dataclass

from harness.contract import Adapter, Checkpoint, Job, param
from harness.memory.held import Held


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

    def compress(self, job: Job) -> Checkpoint:
        """Quantise the linear layers (adapters merged first) and save them as 8-bit."""
        from harness.models.quantization import eight_bit, quantize

        return quantize(job, eight_bit(self.params.threshold))
