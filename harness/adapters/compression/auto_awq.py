"""``auto_awq``: AWQ by the archived package autoawq, opened by the maintained library."""

from __future__ import annotations

from dataclasses import dataclass

from harness.contract import Checkpoint, Job, param
from harness.memory.held import Held
from harness.training.calibration import Calibrated, CalibrationParams, calibration_windows


class AutoAwq(Calibrated):
    """Quantises under the transformers of its time; ``awq`` is the same technique in the library that is kept.

    On a CPU autoawq 0.2.9 restores weights between its trials from what is no copy there, and damages the model without
    a word. ``corrected`` hands it copies, by a subclass of its quantiser; without it, the package as released runs.
    """

    summary = "AWQ by the archived autoawq"
    source = "Lin et al. 2023, arXiv:2306.00978; library: autoawq 0.2.9 (archived 2025)"
    requires = ("torch", "transformers", "awq")
    environment = "auto_awq"
    precisions = ("bf16", "fp16")
    revision = 1
    refuses = frozenset({"peft"})

    @dataclass(frozen=True)
    class Params(CalibrationParams):
        group_size: int = param(128, "weights that share a scale", choices=(16, 32, 64, 128))
        corrected: bool = param(True, "weights are restored from copies; false: the package as released")

    @classmethod
    def software(cls, operation: str) -> tuple[str, tuple[str, ...]]:
        """Its checkpoints are opened where the maintained library is."""
        if operation == "eval":
            return "gptq", ("torch", "transformers", "gptqmodel")
        return cls.environment, cls.requires

    def holds(self, model: Held) -> Held:
        """Codes of 4 bits, and for each group a scale in 16 bits and a zero point; the rest in 16 bits."""
        return model.stored_in_groups(4, self.params.group_size)

    def compress(self, job: Job) -> Checkpoint:
        """Scale and quantise the linear layers."""
        from harness.models.archived import tokenizer_of_that_time
        from harness.models.auto_awq import quantize

        windows = calibration_windows(job, self.params, tokenizer_of_that_time(job))
        return quantize(job, self.params.group_size, self.params.corrected, windows)
