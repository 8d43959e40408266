"""``gptq``: integer weights, each column rounded so that the following ones make up for its error."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.contract import Checkpoint, Job, param
from harness.memory.held import Held
from harness.plain_code import PlainCode
from harness.training.calibration import Calibrated, CalibrationParams, calibration_windows


class Gptq(Calibrated):
    """Quantises layer after layer with second-order information from calibration text; the rest stays in 16 bits.

    On a CPU, 4-bit codes in groups are multiplied by torch's own kernel at bf16 and fp16; else they are unpacked at
    every product in plain torch. Kernels that gptqmodel compiles at their first use are not used.
    """

    summary = "integer weights by second-order rounding against calibration text"
    source = "Frantar et al. 2022, arXiv:2210.17323; library: gptqmodel"
    requires = ("torch", "transformers", "gptqmodel", "optimum")
    environment = "gptq"
    revision = 1

    @dataclass(frozen=True)
    class Params(CalibrationParams):
        bits: int = param(4, "bits of a weight", choices=(2, 3, 4, 8))
        group_size: int | None = param(
            128, "weights that share a scale; a whole row for null", choices=(None, 16, 32, 64, 128, 256, 512, 1024)
        )
        symmetric: bool = param(True, "the grid is centred on zero, without a zero point")
        activation_order: bool = param(False, "columns in the order of their inputs' size (desc_act)")

    def holds(self, model: Held) -> Held:
        """Codes, and for each group a scale in 16 bits and a zero point; the rest in 16 bits."""
        return model.stored_in_groups(self.params.bits, self.params.group_size)

    def in_plain_code(self, setup: Mapping[str, Any]) -> PlainCode | None:
        """gptqmodel, which calibrates on texts."""
        params = self.params
        group = -1 if params.group_size is None else params.group_size
        return PlainCode(
            "# texts: a few hundred passages of what the model will read\n"
            f"recipe = QuantizeConfig(bits={params.bits}, group_size={group}, desc_act={params.activation_order}, "
            f"sym={params.symmetric})\n"
            "model = GPTQModel.load(source, recipe)\n"
            "model.quantize(texts)\n"
            "model.save(target)",
            use="model = GPTQModel.load(target)",
            imports=("from gptqmodel import GPTQModel, QuantizeConfig",),
        )

    def compress(self, job: Job) -> Checkpoint:
        """Quantise the linear layers (adapters merged first) against calibration text."""
        from harness.models.calibrated import Recipe, quantize_calibrated

        params = self.params
        recipe = Recipe("gptq", params.bits, params.group_size, params.symmetric, params.activation_order)
        return quantize_calibrated(job, recipe, calibration_windows(job, params))
