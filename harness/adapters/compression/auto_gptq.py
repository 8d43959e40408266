"""``auto_gptq``: GPTQ by the archived package auto-gptq, opened by the maintained library."""

from __future__ import annotations

from dataclasses import dataclass

from harness.contract import Checkpoint, Hardware, Job, param
from harness.memory.held import Held
from harness.training.calibration import Calibrated, CalibrationParams, calibration_windows


class AutoGptq(Calibrated):
    """Quantises under the transformers of its time, on a GPU; ``gptq`` is the same technique in the kept library."""

    summary = "GPTQ by the archived auto-gptq"
    source = "Frantar et al. 2022, arXiv:2210.17323; library: auto-gptq 0.7.1 (archived 2025)"
    requires = ("torch", "transformers", "auto_gptq")
    environment = "auto_gptq"
    revision = 1
    refuses = frozenset({"peft"})

    @dataclass(frozen=True)
    class Params(CalibrationParams):
        bits: int = param(4, "bits of a weight", choices=(2, 3, 4, 8))
        group_size: int | None = param(128, "weights that share a scale; a whole row for null", low=1)
        symmetric: bool = param(True, "the grid is centred on zero, without a zero point")
        activation_order: bool = param(False, "columns in the order of their inputs' size (desc_act)")

    @classmethod
    def software(cls, operation: str) -> tuple[str, tuple[str, ...]]:
        """Its checkpoints are opened where the maintained library is."""
        if operation == "eval":
            return "gptq", ("torch", "transformers", "gptqmodel", "optimum")
        return cls.environment, cls.requires

    def skip(self, precision: str, hardware: Hardware) -> str | None:
        """It refuses by itself; the plan says so before anything is set up."""
        if hardware.device == "cuda":
            return None
        return "auto-gptq 0.7.1 refuses to quantise without CUDA; gptq, by the maintained library, runs here"

    def holds(self, model: Held) -> Held:
        """Codes, and for each group a scale in 16 bits and a zero point; the rest in 16 bits."""
        return model.stored_in_groups(self.params.bits, self.params.group_size)

    def compress(self, job: Job) -> Checkpoint:
        """Quantise the linear layers against calibration text."""
        from harness.models.archived import tokenizer_of_that_time
        from harness.models.auto_gptq import quantize
        from harness.models.calibrated import Recipe

        params = self.params
        recipe = Recipe("gptq", params.bits, params.group_size, params.symmetric, params.activation_order)
        return quantize(job, recipe, calibration_windows(job, params, tokenizer_of_that_time(job)))
