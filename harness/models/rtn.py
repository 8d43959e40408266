"""Round-to-nearest checkpoints as a quantisation method of transformers, registered through its public hook.

A saved model opens with ``from_pretrained`` wherever this module is imported.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers.quantizers.auto import register_quantization_config, register_quantizer
from transformers.quantizers.base import HfQuantizer, get_keys_to_not_convert
from transformers.utils.quantization_config import QuantizationConfigMixin

from harness.errors import StepError
from harness.models.rounding import Grid, RoundedLinear

METHOD = "rtn"


@register_quantization_config(METHOD)
class RtnConfig(QuantizationConfigMixin):  # type: ignore[misc]
    """What ``config.json`` says of a rounded model."""

    def __init__(self, bits: int = 4, group_size: int | None = None, symmetric: bool = True, **rest: Any) -> None:
        self.quant_method = METHOD
        self.bits, self.group_size, self.symmetric = bits, group_size, symmetric

    @property
    def grid(self) -> Grid:
        """Its grid."""
        return Grid(self.bits, self.group_size, self.symmetric)


@register_quantizer(METHOD)
class RtnQuantizer(HfQuantizer):  # type: ignore[misc]
    """Puts the layers into a model that is about to load rounded weights."""

    requires_calibration = True

    def _process_model_before_weight_loading(self, model: Any, **rest: Any) -> None:
        for name, linear in layers_to_round(model):
            with torch.device("meta"):
                made = RoundedLinear(
                    linear.in_features, linear.out_features, self.quantization_config.grid, linear.bias is not None
                )
            model.set_submodule(name, made)

    def _process_model_after_weight_loading(self, model: Any, **rest: Any) -> Any:
        return model

    def is_serializable(self, *args: Any, **rest: Any) -> bool:
        """Codes are saved as they are."""
        return True

    @property
    def is_trainable(self) -> bool:
        """Codes do not learn."""
        return False


def round_model(model: Any, grid: Grid) -> Any:
    """Round every linear layer of a live model in place, but the output layer; ``StepError`` where there is none."""
    found = layers_to_round(model)
    if not found:
        raise StepError(f"{type(model).__name__} has no linear layer to round (GPT-2's are of another class)")
    for name, linear in found:
        model.set_submodule(name, RoundedLinear.of(linear, grid, name))
    config = RtnConfig(grid.bits, grid.group_size, grid.symmetric)
    model.config.quantization_config = config
    model.hf_quantizer = RtnQuantizer(config, pre_quantized=True)
    return model


def layers_to_round(model: Any) -> list[tuple[str, Any]]:
    """Linear layers by name, without those that share the embeddings' weights and the output layer."""
    kept = set(get_keys_to_not_convert(model))
    return [
        (name, module) for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and name not in kept
    ]  # fmt: skip
