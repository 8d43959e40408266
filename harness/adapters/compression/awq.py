"""``awq``: 4-bit weights, scaled before rounding so that the inputs that matter lose least."""

from __future__ import annotations

from dataclasses import dataclass

from harness.contract import Checkpoint, Job, param
from harness.memory.held import Held
from harness.training.calibration import Calibrated, CalibrationParams, calibration_windows


class Awq(Calibrated):
    """Scales input channels by the size of what calibration text puts in, rounds, and divides the scales out again.

    The inverse scales go into the layer before (a norm, say), so that nothing is added to the model. On a CPU
    torch's own kernel multiplies 4-bit codes in groups.
    """

    summary = "4-bit weights, scaled by the activations of calibration text"
    source = "Lin et al. 2023, arXiv:2306.00978; library: gptqmodel"
    requires = ("torch", "transformers", "gptqmodel")
    environment = "gptq"
    precisions = ("bf16", "fp16")
    revision = 1

    @dataclass(frozen=True)
    class Params(CalibrationParams):
        group_size: int | None = param(
            128, "weights that share a scale; a whole row for null", choices=(None, 16, 32, 64, 128)
        )
        symmetric: bool = param(False, "the grid is centred on zero, without a zero point")

    def holds(self, model: Held) -> Held:
        """Codes of 4 bits, and for each group a scale in 16 bits and a zero point; the rest in 16 bits."""
        return model.stored_in_groups(4, self.params.group_size)

    def compress(self, job: Job) -> Checkpoint:
        """Scale and quantise the linear layers (adapters merged first)."""
        from harness.models.calibrated import Recipe, quantize_calibrated

        params = self.params
        recipe = Recipe("awq", 4, params.group_size, params.symmetric)
        return quantize_calibrated(job, recipe, calibration_windows(job, params))
