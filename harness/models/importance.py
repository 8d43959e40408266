"""How much each input of a linear layer matters: its mean square over text, which is llama.cpp's importance matrix."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy

WINDOWS_AT_ONCE = 8


def mean_squares(model: Any, windows: Sequence[Sequence[int]]) -> dict[str, numpy.ndarray]:
    """For every linear layer (GPT-2's too) by name: mean square of each input over all tokens, float32 [inputs]."""
    import torch

    sums: dict[str, Any] = {}
    with torch.no_grad(), _watched(model, sums):
        for start in range(0, len(windows), WINDOWS_AT_ONCE):
            part = [list(window) for window in windows[start : start + WINDOWS_AT_ONCE]]
            model(input_ids=torch.tensor(part), use_cache=False)
    tokens = sum(map(len, windows))
    return {name: (total / tokens).float().numpy() for name, total in sums.items()}


@contextmanager
def _watched(model: Any, sums: dict[str, Any]) -> Iterator[None]:
    """Add up the squares of what goes into each linear layer, in float64."""
    import torch
    from transformers.pytorch_utils import Conv1D

    def watch(name: str) -> Any:
        def hook(_module: Any, inputs: tuple[Any, ...]) -> None:
            states = inputs[0].detach().double()
            sums[name] = sums.get(name, 0) + states.reshape(-1, states.shape[-1]).square().sum(dim=0)

        return hook

    layers = [(name, module) for name, module in model.named_modules() if isinstance(module, torch.nn.Linear | Conv1D)]
    handles = [module.register_forward_pre_hook(watch(name)) for name, module in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
