"""Prefix tuning through PEFT."""

from __future__ import annotations

from typing import Any

from harness.contract import TrainingSetup
from harness.errors import StepError
from harness.training.adapters import save_adapters, task_type
from harness.training.change import Change
from harness.training.setup import NO_CACHE


def prefix(params: Any) -> Change:
    """A prefix of ``params.prefix_length`` keys and values for every layer, through a network if ``reparametrize``."""

    def prepare(model: Any, setup: TrainingSetup) -> Any:
        from peft import PrefixTuningConfig, get_peft_model

        if setup.gradient_checkpointing:
            raise StepError(NO_CACHE)
        config = PrefixTuningConfig(
            num_virtual_tokens=params.prefix_length, prefix_projection=params.reparametrize, task_type=task_type(model)
        )
        return get_peft_model(model, config)

    return Change(prepare, save_adapters, "peft")
