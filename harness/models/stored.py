"""Weight files as they are shipped: what is not quantised in 16 bits, whatever a library left it in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def read_tensors(file: Path) -> tuple[dict[str, Any], dict[str, str] | None]:
    """Tensors of a safetensors file by name, and its metadata."""
    from safetensors import safe_open

    with safe_open(file, "pt") as opened:
        return {name: opened.get_tensor(name) for name in opened.keys()}, opened.metadata()  # noqa: SIM118


def write_in_16_bits(tensors: Mapping[str, Any], file: Path, metadata: dict[str, str] | None) -> None:
    """Write tensors, those of 32 bits in bfloat16; codes and 16-bit scales stay as they are."""
    import torch
    from safetensors.torch import save_file

    halved = {name: one.to(torch.bfloat16) if one.dtype == torch.float32 else one for name, one in tensors.items()}
    save_file(halved, file, metadata=metadata)
