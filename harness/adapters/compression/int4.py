"""``int4``: 4-bit storage through bitsandbytes, NF4 or FP4."""

from __future__ import annotations

from dataclasses import dataclass

from harness.contract import Adapter, Checkpoint, Job, param


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

    def compress(self, job: Job) -> Checkpoint:
        """Quantise the linear layers (adapters merged first) and save them as 4-bit."""
        from harness.models.quantization import four_bit, quantize

        return quantize(job, four_bit(self.params.quant_type, self.params.double_quant, job.precision))
