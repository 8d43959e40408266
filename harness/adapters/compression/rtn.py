"""``rtn``: integer weights by rounding to the nearest, without any data: what a clever method has to beat."""

from __future__ import annotations

from dataclasses import dataclass

from harness.contract import Adapter, Checkpoint, Job, param
from harness.memory.held import Held


class RoundToNearest(Adapter):
    """Rounds each linear layer in groups along its rows; embeddings, norms and the output layer stay in 16 bits.

    The codes are unpacked at every product, in plain torch: it says what a grid costs in quality, not what a kernel
    gives in speed.
    """

    summary = "weights rounded to an integer grid"
    source = "the baseline of Frantar et al. 2022, arXiv:2210.17323; formula in harness/models/rounding.py"
    requires = ("torch", "transformers", "accelerate")
    takes = frozenset({"model"})
    gives = frozenset({"model"})
    kinds = frozenset({"causal", "masked", "seq2seq"})

    @dataclass(frozen=True)
    class Params:
        bits: int = param(4, "bits of a weight", low=2, high=8)
        group_size: int | None = param(None, "weights that share a scale; a whole row where not given", low=1)
        symmetric: bool = param(True, "the grid is centred on zero, without a zero point")

    def holds(self, model: Held) -> Held:
        """Codes, and for each group a scale in 16 bits and, off centre, a zero point; the rest in 16 bits."""
        zero = 0 if self.params.symmetric else self.params.bits
        return model.stored_in_groups(self.params.bits, self.params.group_size, zero_bits=zero)

    def compress(self, job: Job) -> Checkpoint:
        """Round the linear layers (adapters merged first) and save their codes."""
        from harness.models.quantization import round_weights

        return round_weights(job, self.params.bits, self.params.group_size, self.params.symmetric)
