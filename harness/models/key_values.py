"""The key-value cache of a live transformers model: bytes of its tensors, and what arithmetic says of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from harness.contract import KeyValues

# How deep tensors may lie in a layer of a cache: in tuples of packed codes with their scales.
DEPTH = 4


def key_values_of(cache: Any, config: Any, sequences: int, precision: str) -> KeyValues | None:
    """Look at a cache after a generation; None where a model keeps something else (a state of fixed size).

    Memory counts once, however many tensors look into it. A cache of layers that hold unequally many positions (sliding
    windows) has no arithmetic.
    """
    layers = getattr(cache, "layers", None)
    if not layers:
        return None
    storages = {one.untyped_storage().data_ptr(): one.untyped_storage().nbytes() for one in _tensors(layers, DEPTH)}
    positions = {int(layer.get_seq_length()) for layer in layers}
    held, longest = sum(storages.values()), max(positions)
    if not held or not longest:
        return None
    expected = None if len(positions) > 1 else _expected(config, sequences * longest, precision)
    return KeyValues(held, sequences * longest, expected)


def _expected(config: Any, positions: int, precision: str) -> int | None:
    """2 x layers x key-value heads x head size x positions x bytes of a value in the precision's compute type."""
    text = config.get_text_config()
    heads = getattr(text, "num_attention_heads", None)
    layers, width = getattr(text, "num_hidden_layers", None), getattr(text, "hidden_size", None)
    if not heads or not layers or not width:
        return None
    shared = getattr(text, "num_key_value_heads", None) or heads
    size = getattr(text, "head_dim", None) or width // heads
    return int(2 * layers * shared * size * positions * (4 if precision == "fp32" else 2))


def _tensors(found: Any, depth: int) -> Iterator[Any]:
    """Tensors in objects of a cache, in their attributes and in tuples, lists and mappings of those."""
    import torch

    if isinstance(found, torch.Tensor):
        inner = getattr(found, "__tensor_flatten__", None)
        if inner is None:
            yield found
        else:  # a tensor that stands for others, as packed ones do
            yield from (getattr(found, name) for name in inner()[0])
    elif isinstance(found, list | tuple):
        for one in found:
            yield from _tensors(one, depth)
    elif isinstance(found, dict):
        yield from _tensors(list(found.values()), depth)
    elif depth and hasattr(found, "__dict__"):
        yield from _tensors(list(vars(found).values()), depth - 1)
