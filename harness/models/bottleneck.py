"""Bottleneck adapters (Houlsby et al. 2019, arXiv:1902.00751) as a method of the PEFT library, which has none.

Importing this module registers it, so that ``get_peft_model(model, BottleneckConfig(...))`` and
``PeftModel.from_pretrained`` work as for any method. Unlike the rest of the package, it needs torch and peft to import.

After attention and after the feed-forward block, before the residual connection and the norm, stands

    h + W_up gelu(W_down h + b_down) + b_up,    W_down [size, width], W_up [width, size]

that is 2 x size x width + size + width parameters each. It starts near the identity (weights from a normal of 0.01 cut
at two standard deviations, biases 0). The layer norms are trained too, as copies that are saved with the adapter.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from aenum import extend_enum
from peft import PeftConfig
from peft.tuners.tuners_utils import BaseTuner, BaseTunerLayer
from peft.utils import PeftType, register_peft_method

NAME = "bottleneck"
INITIAL_DEVIATION = 1e-2
# The projections that end attention and the feed-forward block, by model type.
OUTPUTS: dict[str, list[str]] = {
    "llama": ["o_proj", "down_proj"], "mistral": ["o_proj", "down_proj"], "qwen2": ["o_proj", "down_proj"],
    "qwen3": ["o_proj", "down_proj"], "gemma": ["o_proj", "down_proj"], "gemma2": ["o_proj", "down_proj"],
    "phi3": ["o_proj", "down_proj"], "gpt2": ["attn.c_proj", "mlp.c_proj"],
    "gpt_neox": ["attention.dense", "dense_4h_to_h"], "opt": ["out_proj", "fc2"],
    "bert": ["output.dense"], "roberta": ["output.dense"], "electra": ["output.dense"],
    "distilbert": ["out_lin", "lin2"], "t5": ["o", "wo"], "mt5": ["o", "wo"], "bart": ["out_proj", "fc2"],
    "mbart": ["out_proj", "fc2"], "pegasus": ["out_proj", "fc2"],
}  # fmt: skip

if "BOTTLENECK" not in PeftType.__members__:
    # PEFT's public hook takes a new method, but only under a name that its enumeration knows.
    extend_enum(PeftType, "BOTTLENECK", "BOTTLENECK")


@dataclass
class BottleneckConfig(PeftConfig):  # type: ignore[misc]
    """``size`` is the width of the bottleneck; ``target_modules`` defaults to the outputs of a known model type."""

    size: int = field(default=64, metadata={"help": "width of the bottleneck"})
    train_norms: bool = field(default=True, metadata={"help": "train the layer norms too, as copies of the adapter"})
    target_modules: list[str] | str | None = field(default=None, metadata={"help": "projections to stand behind"})
    exclude_modules: list[str] | str | None = field(default=None, metadata={"help": "projections to leave alone"})
    modules_to_save: list[str] | None = field(default=None, metadata={"help": "modules that are trained as a whole"})

    def __post_init__(self) -> None:
        super().__post_init__()
        self.peft_type = PeftType.BOTTLENECK
        if self.size < 1:
            raise ValueError(f"size must be at least 1, not {self.size}")


class BottleneckLayer(torch.nn.Module, BaseTunerLayer):  # type: ignore[misc]
    """A projection with a bottleneck behind it: [..., width] to [..., width]."""

    adapter_layer_names = ("bottleneck_down", "bottleneck_up")
    other_param_names = ("bottleneck_size",)

    def __init__(self, base_layer: torch.nn.Module, adapter_name: str, config: BottleneckConfig) -> None:
        torch.nn.Module.__init__(self)
        self.base_layer = base_layer
        self.bottleneck_down, self.bottleneck_up = torch.nn.ModuleDict(), torch.nn.ModuleDict()
        self.bottleneck_size: dict[str, int] = {}
        self._disable_adapters = False
        self.merged_adapters: list[str] = []
        self._active_adapter = adapter_name
        self.update_layer(adapter_name, config)

    def update_layer(self, adapter_name: str, config: BottleneckConfig) -> None:
        """Add a bottleneck under a name."""
        width = _outputs_of(self.get_base_layer())
        self.bottleneck_size[adapter_name] = config.size
        self.bottleneck_down[adapter_name] = _near_zero(width, config.size)
        self.bottleneck_up[adapter_name] = _near_zero(config.size, width)
        self._move_adapter_to_device_of_base_layer(adapter_name)
        self.set_adapter(self.active_adapters, inference_mode=config.inference_mode)

    def forward(self, x: torch.Tensor, *args: Any, **rest: Any) -> torch.Tensor:
        """The projection's output with what every active bottleneck adds to it, one after another."""
        states: torch.Tensor = self.base_layer(x, *args, **rest)
        if self.disable_adapters:
            return states
        for name in self.active_adapters:
            if name in self.bottleneck_down:
                down, up = self.bottleneck_down[name], self.bottleneck_up[name]
                inner = torch.nn.functional.gelu(down(states.to(down.weight.dtype)))
                states = states + up(inner).to(states.dtype)
        return states

    def __repr__(self) -> str:
        return f"bottleneck.{super().__repr__()}"


class BottleneckModel(BaseTuner):  # type: ignore[misc]
    """A model with bottleneck adapters behind its projections."""

    prefix = "bottleneck_"
    tuner_layer_cls = BottleneckLayer
    target_module_mapping = OUTPUTS

    def _prepare_model(self, peft_config: BottleneckConfig, model: torch.nn.Module) -> None:
        if peft_config.train_norms and not peft_config.modules_to_save:
            norms = {name.rsplit(".", 1)[-1] for name, module in model.named_modules() if _is_norm(module)}
            peft_config.modules_to_save = sorted(norms)

    def _create_and_replace(
        self, config: BottleneckConfig, adapter_name: str, target: torch.nn.Module, target_name: str,
        parent: torch.nn.Module, current_key: str, **_: Any,
    ) -> None:  # fmt: skip
        if isinstance(target, BottleneckLayer):
            target.update_layer(adapter_name, config)
            return
        layer = BottleneckLayer(target, adapter_name, config)
        if adapter_name not in self.active_adapters:
            layer.requires_grad_(False)
        self._replace_module(parent, target_name, layer, target)

    def _check_merge_allowed(self) -> None:
        raise ValueError(
            "bottleneck adapters have a non-linearity between their matrices and cannot be merged into the weights: "
            "keep the adapter beside its base"
        )


def _outputs_of(layer: torch.nn.Module) -> int:
    """Width of what a projection gives: ``nn.Linear`` (quantised ones too) or GPT-2's transposed ``Conv1D``."""
    if hasattr(layer, "out_features"):
        return int(layer.out_features)
    if hasattr(layer, "nf"):
        return int(layer.nf)
    raise ValueError(f"a bottleneck stands behind a linear layer, not behind {type(layer).__name__}")


def _near_zero(inputs: int, outputs: int) -> torch.nn.Linear:
    made = torch.nn.Linear(inputs, outputs)
    torch.nn.init.trunc_normal_(made.weight, std=INITIAL_DEVIATION, a=-2 * INITIAL_DEVIATION, b=2 * INITIAL_DEVIATION)
    torch.nn.init.zeros_(made.bias)
    return made


def _is_norm(module: torch.nn.Module) -> bool:
    return type(module).__name__.endswith("Norm") and not list(module.children())


register_peft_method(name=NAME, config_cls=BottleneckConfig, model_cls=BottleneckModel)
