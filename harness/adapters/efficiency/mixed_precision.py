"""``mixed_precision``: products in 16 bits, weights and optimiser state in 32."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from harness.contract import Modifier, TrainingSetup, param
from harness.errors import UsageError


class MixedPrecision(Modifier):
    """The precision ``bf16-mixed`` or ``fp16-mixed`` by another name: a suite's plan makes one cell of both.

    fp16 scales the loss, and leaves out the steps whose gradients overflow.
    """

    summary = "16-bit products over 32-bit weights"
    source = "Micikevicius et al. 2018, arXiv:1710.03740; through torch's autocast and transformers' Trainer"
    requires = ("torch", "transformers", "accelerate")

    @dataclass(frozen=True)
    class Params:
        dtype: str = param("bf16", "type of the products", choices=("bf16", "fp16"))

    def __init__(self, params: Any) -> None:
        super().__init__(params)
        self.precision = f"{params.dtype}-mixed"

    def modify(self, setup: TrainingSetup) -> TrainingSetup:
        """Train at the mixed precision."""
        if setup.precision not in ("fp32", self.precision):
            raise UsageError(f"dtype={self.params.dtype} contradicts the precision {setup.precision}")
        return replace(setup, precision=f"{self.params.dtype}-mixed")
