"""From a blank checkpoint, an architecture alone, to a live model with fresh weights that fits a tokenizer."""

from __future__ import annotations

from typing import Any

from harness.contract import Checkpoint, Hardware
from harness.models.architectures import auto_class, kind_of_configuration
from harness.models.loading import weight_dtype


def fresh_model(
    checkpoint: Checkpoint, tokenizer: Any, precision: str, hardware: Hardware, attention: str | None = None,
    *, headless: bool = False,
) -> Any:  # fmt: skip
    """A model of the kind that the architecture gives, its weights drawn from torch's current seed.

    ``headless`` leaves the language-modelling head out.
    """
    config = fresh_configuration(checkpoint, tokenizer)
    options = {"attn_implementation": attention} if attention else {}
    auto = auto_class(kind_of_blank(checkpoint), headless=headless)
    return auto.from_config(config, dtype=weight_dtype(precision), **options).to(hardware.device)


def fresh_configuration(checkpoint: Checkpoint, tokenizer: Any) -> Any:
    """The architecture's configuration with the vocabulary's size and special tokens in it."""
    config = _configuration(checkpoint)
    kind = kind_of_configuration(config.to_dict())
    config.vocab_size = len(tokenizer)
    config.bos_token_id = config.eos_token_id = tokenizer.eos_token_id
    if kind != "causal":
        config.pad_token_id = tokenizer.pad_token_id
    if kind == "seq2seq":
        # As published: T5's decoder begins with padding, BART's with the end of text.
        begins_with_padding = config.model_type == "t5"
        config.decoder_start_token_id = tokenizer.pad_token_id if begins_with_padding else tokenizer.eos_token_id
    return config


def kind_of_blank(checkpoint: Checkpoint) -> str:
    """Kind of the checkpoint that a blank one becomes with weights."""
    return kind_of_configuration(_configuration(checkpoint).to_dict())


def with_weights(checkpoint: Checkpoint, kind: str | None = None) -> Checkpoint:
    """A blank checkpoint as the one that it becomes with weights, which hold its configuration; others as they are."""
    if checkpoint.kind != "blank":
        return checkpoint
    parts = {name: path for name, path in checkpoint.parts.items() if name != "config"}
    return Checkpoint(kind=kind or kind_of_blank(checkpoint), parts=parts)


def _configuration(checkpoint: Checkpoint) -> Any:
    from transformers import AutoConfig

    from harness.models.loading import SAFELY

    return AutoConfig.from_pretrained(checkpoint.parts["config"], **SAFELY)
