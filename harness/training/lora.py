"""LoRA through PEFT, for every technique that trains low-rank adapters."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.contract import TrainingSetup
from harness.errors import StepError


def add_lora(params: Any, *, quantized: bool = False) -> Callable[[Any, TrainingSetup], Any]:
    """Return the function that wraps a loaded model by ``params`` (rank, alpha, target_modules, dropout)."""

    def prepare(model: Any, setup: TrainingSetup) -> Any:
        from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training

        if quantized:
            model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=setup.gradient_checkpointing)
        elif setup.gradient_checkpointing:
            model.enable_input_require_grads()
        config = LoraConfig(
            r=params.rank,
            lora_alpha=params.alpha or 2 * params.rank,
            target_modules=_module_names(params.target_modules),
            lora_dropout=params.dropout,
            task_type="CAUSAL_LM",
        )
        try:
            return get_peft_model(model, config)
        except ValueError as error:
            raise StepError(f"LoRA cannot be added: {str(error).splitlines()[0]}") from error

    return prepare


def _module_names(given: str | None) -> str | list[str] | None:
    if given is None or given == "all-linear":
        return given
    return [name.strip() for name in given.split(",")]


def save_adapters(model: Any, folder: Path) -> None:
    """Write the adapters alone, so that plain PEFT can load them."""
    model.save_pretrained(folder)
