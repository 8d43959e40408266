"""Models with random weights that are drawn where they are used, one tensor at a time, and lie in no file.

A folder holds the configuration and ``drawn.json``: the seed, and what the weights would take in 16 bits. Opening it
hands transformers one lazy tensor per parameter, as a safetensors file would be, so that each is drawn on the device in
16 bits, then cast or quantised, and gone before the next ones come: a model of 8 billion parameters is opened in 4 bits
without ever lying anywhere in 16. Equal seeds give equal weights on one device, whatever they are stored as.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

MARK = "drawn.json"
# Below this a random model is written into a file once, as any other is, and every library can open it.
LARGEST_FILE_BYTES = 2**30
_SPREAD = 0.02  # of a configuration that names no other


def is_drawn(folder: Path) -> bool:
    """Whether the weights of a model's folder are drawn when it is opened."""
    return (folder / MARK).is_file()


def drawn_bytes(folder: Path) -> int:
    """Bytes that the weights of such a folder take in 16 bits; 0 of any other part of a checkpoint."""
    return int(_mark(folder)["bytes"]) if is_drawn(folder) else 0


def write_mark(folder: Path, config: Any, seed: int, parameters: int) -> None:
    """Make ``folder`` one whose weights are drawn."""
    config.save_pretrained(folder)
    (folder / MARK).write_text(json.dumps({"seed": seed, "parameters": parameters, "bytes": 2 * parameters}) + "\n")


def skeleton(auto: Any, config: Any) -> Any:
    """The model that ``auto`` makes of a configuration, without any memory for its weights."""
    import torch

    with torch.device("meta"):
        return auto.from_config(config)


def draw(auto: Any, folder: Path, device: str, **options: Any) -> Any:
    """Open the folder as ``auto.from_pretrained(folder, **options)`` would, every weight drawn on ``device``."""
    from transformers import AutoConfig

    from harness.models.loading import SAFELY

    config = AutoConfig.from_pretrained(folder, **SAFELY)
    model = skeleton(auto, config)
    weights = dict(_weights(model, config, int(_mark(folder)["seed"]), device))
    options["device_map"] = {"": device}
    return type(model).from_pretrained(None, config=config, state_dict=weights, **SAFELY, **options)


def _mark(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / MARK).read_text())
    return found


def _weights(model: Any, config: Any, seed: int, device: str) -> Iterator[tuple[str, _Weight]]:
    """A lazy tensor for every parameter, one for those that share their memory (tied embeddings)."""
    spread = float(getattr(config, "initializer_range", None) or _SPREAD)
    for name, parameter in model.named_parameters():
        own = seed ^ zlib.crc32(name.encode())
        yield name, _Weight(tuple(parameter.shape), _rule(model, name, spread), own, device)


def _rule(model: Any, name: str, spread: float) -> Callable[[Any, Any], Any]:
    """How a parameter begins: norms at one, biases at zero, all else normal."""
    owner, _, last = name.rpartition(".")
    if last == "bias":
        return lambda tensor, generator: tensor.zero_()
    if "norm" in type(model.get_submodule(owner)).__name__.lower():
        return lambda tensor, generator: tensor.fill_(1.0)
    return lambda tensor, generator: tensor.normal_(0.0, spread, generator=generator)


class _Weight:
    """One weight that comes to be when it is read, by the signs of a slice of a safetensors file."""

    def __init__(self, shape: tuple[int, ...], rule: Callable[[Any, Any], Any], seed: int, device: str) -> None:
        self.shape = shape
        self._rule, self._seed, self._device = rule, seed, device

    @property
    def dtype(self) -> Any:
        """16-bit brain floats, as models are published."""
        import torch

        return torch.bfloat16

    def get_shape(self) -> list[int]:
        """Its sizes."""
        return list(self.shape)

    def get_dtype(self) -> str:
        """Its type by safetensors' name."""
        return "BF16"

    def __getitem__(self, part: Any) -> Any:
        """Draw all of it, and return the part."""
        import torch

        generator = torch.Generator(self._device).manual_seed(self._seed)
        tensor = torch.empty(self.shape, dtype=self.dtype, device=self._device)
        return self._rule(tensor, generator)[part]
