"""Watches the live model that a fine-tuning stage trained, which its checkpoint alone does not show."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def watched(run: Callable[..., Any]) -> Callable[..., tuple[Any, Any, dict[str, bytes]]]:
    """Run a LoRA-like adapter; return what it left, the live model, and the tensors as they were before training."""
    from harness.training import lora

    def perform(*args: Any, **params: Any) -> tuple[Any, Any, dict[str, bytes]]:
        seen: dict[str, Any] = {}
        add, save = lora.add_lora, lora.save_adapters

        def adding(*given: Any, **options: Any) -> Any:
            prepare = add(*given, **options)

            def prepared(model: Any, setup: Any) -> Any:
                seen["model"] = prepare(model, setup)
                seen["before"] = tensor_hashes(seen["model"])
                return seen["model"]

            return prepared

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(lora, "add_lora", adding)
            patch.setattr(lora, "save_adapters", lambda model, folder: save(model, folder))
            ran = run(*args, **params)
        return ran, seen["model"], seen["before"]

    return perform


def tensor_hashes(model: Any) -> dict[str, bytes]:
    """A hash of the bytes of every tensor of a live model, by name."""
    import torch

    return {
        name: hashlib.sha256(value.detach().contiguous().flatten().view(torch.uint8).numpy().tobytes()).digest()
        for name, value in model.state_dict().items()
        if isinstance(value, torch.Tensor)
    }


@pytest.fixture(scope="session")
def hashes() -> Callable[[Any], dict[str, bytes]]:
    return tensor_hashes


@pytest.fixture(scope="session")
def folder_hash() -> Callable[[Path], str]:
    def compute(folder: Path) -> str:
        digest = hashlib.sha256()
        for file in sorted(folder.rglob("*")):
            digest.update(file.name.encode() + file.read_bytes())
        return digest.hexdigest()

    return compute
