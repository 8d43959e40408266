"""Bottleneck adapters through PEFT."""

from __future__ import annotations

from typing import Any

from harness.contract import TrainingSetup
from harness.errors import StepError
from harness.training.adapters import save_adapters, task_type
from harness.training.change import Change


def bottleneck(params: Any) -> Change:
    """Bottlenecks of ``params.size``, the norms trained with them if ``train_norms``."""

    def prepare(model: Any, setup: TrainingSetup) -> Any:
        from peft import get_peft_model

        from harness.models.bottleneck import BottleneckConfig

        if setup.gradient_checkpointing:
            model.enable_input_require_grads()
        config = BottleneckConfig(size=params.size, train_norms=params.train_norms, task_type=task_type(model))
        try:
            return get_peft_model(model, config)
        except ValueError as error:
            raise StepError(f"bottleneck adapters cannot be added: {str(error).splitlines()[0]}") from error

    return Change(prepare, save_adapters, "peft")
