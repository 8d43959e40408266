"""``torchao``: integer weights by torchao's portable formats."""

from __future__ import annotations

from dataclasses import dataclass

from harness.contract import Adapter, Checkpoint, Job, param
from harness.memory.held import Held


class TorchAo(Adapter):
    """Stores linear layers as integers with a zero point per group, or at 8 bits without one; nothing is calibrated.

    Below 8 bits a code still takes a byte, on disk and in memory: torchao packs 4 bits only in a prototype whose files
    depend on the processor. What is measured is the grid, and what it costs to use.
    """

    summary = "integer weights by torchao, a byte each"
    source = "PyTorch's torchao, 2024, Int8WeightOnlyConfig and IntxWeightOnlyConfig; library: torchao"
    requires = ("torch", "transformers", "accelerate", "torchao")
    environment = "torchao"
    takes = frozenset({"model"})
    gives = frozenset({"model"})
    ends = "leaves integer weights, which nothing here trains or quantises further"

    @dataclass(frozen=True)
    class Params:
        bits: int = param(8, "bits of a code", low=2, high=8)
        group_size: int | None = param(None, "weights that share a scale; a whole row where not given", low=1)

    def holds(self, model: Held) -> Held:
        """A byte for each code, whatever its bits, and scales."""
        return model.stored_in_groups(8, self.params.group_size)

    def compress(self, job: Job) -> Checkpoint:
        """Quantise the linear layers (adapters merged first) and save their codes."""
        from harness.models.quantization import quantize, torchao_integers

        return quantize(job, torchao_integers(self.params.bits, self.params.group_size))
