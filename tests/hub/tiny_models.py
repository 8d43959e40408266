"""Models of every kind with random weights, as a hub would serve them: the files of ``save_pretrained`` by name."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

SIZES = {
    "hidden_size": 64, "intermediate_size": 128, "layers": 2, "heads": 4, "kv_heads": 2, "context": 128,
    "vocab_size": 512,
}  # fmt: skip


def files_of(architecture: str, *, shards: str = "1GB", pickled: bool = False, **more: Any) -> dict[str, bytes]:
    """A model with a byte-level tokenizer that has no padding token; ``pickled``: as ``pytorch_model.bin`` alone."""
    import torch

    from harness.models.architectures import auto_class, configuration, kind_of_configuration

    torch.manual_seed(0)
    config = configuration({"architecture": architecture, **SIZES, **more})
    model = auto_class(kind_of_configuration(config.to_dict())).from_config(config)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _tokenizer(architecture).save_pretrained(folder)
        model.save_pretrained(folder, max_shard_size=shards)
        if pickled:
            (folder / "model.safetensors").unlink()
            torch.save(model.state_dict(), folder / "pytorch_model.bin")
        return {file.name: file.read_bytes() for file in folder.iterdir()}


def _tokenizer(architecture: str) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = ["<eos>", "<unk>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    backend = Tokenizer(models.BPE({word: index for index, word in enumerate(words)}, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    mask = {"mask_token": "<mask>"} if architecture in ("bert", "bart") else {}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<eos>", **mask)
    if architecture == "t5":
        tokenizer.add_tokens([f"<extra_id_{number}>" for number in range(100)], special_tokens=True)
    return tokenizer
