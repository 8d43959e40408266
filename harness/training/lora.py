"""LoRA through PEFT, for every technique that trains low-rank adapters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.contract import TrainingSetup
from harness.errors import StepError
from harness.models.quantization import Recipe
from harness.training.adapters import save_adapters, task_type
from harness.training.change import Change


def low_rank(
    params: Any, *, rank_stabilized: bool = False, dora: bool = False, recipe: Recipe | None = None
) -> Change:
    """Low-rank adapters by ``params`` (rank, alpha, target_modules, dropout), over a base quantised by ``recipe``."""
    options = {"use_rslora": rank_stabilized, "use_dora": dora}
    return Change(
        add_lora(params, options, quantized=recipe is not None), save_adapters, "peft",
        quantization=recipe.config if recipe else None,
        opened_by={"quantization": recipe.options} if recipe else None,
    )  # fmt: skip


def add_lora(
    params: Any, options: dict[str, bool], *, quantized: bool = False
) -> Callable[[Any, TrainingSetup], Any]:
    """Return the function that wraps a loaded model."""

    def prepare(model: Any, setup: TrainingSetup) -> Any:
        from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training

        if quantized:
            keep_differentiable(model)
            model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=setup.gradient_checkpointing)
        elif setup.gradient_checkpointing:
            model.enable_input_require_grads()
        config = LoraConfig(
            r=params.rank,
            lora_alpha=params.alpha or 2 * params.rank,
            target_modules=_module_names(params.target_modules),
            lora_dropout=params.dropout,
            task_type=task_type(model),
            **options,
        )
        try:
            return get_peft_model(model, config)
        except ValueError as error:
            raise StepError(f"LoRA cannot be added: {str(error).splitlines()[0]}") from error

    return prepare


def keep_differentiable(model: Any) -> None:
    """Keep bitsandbytes' 4-bit layers from repacking their weights for inference at the first evaluation.

    On a CPU with AVX512-BF16 they do, in place; training goes on through a product without a gradient, and every
    adapter below the last layer learns from a wrong one, with nothing but a warning.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def _module_names(given: str | None) -> str | list[str] | None:
    if given is None or given == "all-linear":
        return given
    return [name.strip() for name in given.split(",")]
