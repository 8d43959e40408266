"""``zero``: optimiser state, gradients and parameters divided over the processes that train together."""

from __future__ import annotations

from dataclasses import dataclass, replace

from harness.contract import Hardware, Modifier, TrainingSetup, param
from harness.errors import UsageError


class Zero(Modifier):
    """DeepSpeed's stages: 1 divides the optimiser's state, 2 the gradients too, 3 the parameters as well.

    The processes are the hardware's ``ranks``, started by torchrun; without this modifier they train data-parallel with
    everything on each. The losses are those of one process at the same batch.
    """

    summary = "ZeRO: state, gradients, parameters over ranks"
    source = "Rajbhandari et al. 2020, arXiv:1910.02054; library: deepspeed"
    requires = ("torch", "transformers", "accelerate", "deepspeed")
    precisions = ("fp32",)

    @dataclass(frozen=True)
    class Params:
        stage: int = param(2, "what is divided: 1 state, 2 gradients too, 3 parameters too", choices=(1, 2, 3))

    def skip(self, precision: str, hardware: Hardware) -> str | None:
        """One process has nothing to divide."""
        return None if hardware.ranks > 1 else "zero divides over processes: hardware needs ranks: 2 or more"

    def modify(self, setup: TrainingSetup) -> TrainingSetup:
        """Name the stage; DeepSpeed flattens what it divides, and Muon works on matrices."""
        if setup.optimizer != "adamw":
            reason = f"zero divides flat pieces of weights, on which {setup.optimizer} is not defined"
            raise UsageError(f"{reason}: use optimizer=adamw")
        return replace(setup, zero_stage=self.params.stage)
