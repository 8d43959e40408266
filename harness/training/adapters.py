"""What all techniques of the PEFT library share: which task a model is wrapped for, and what is saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def task_type(model: Any) -> str:
    """PEFT's word for what a live model does: it writes, reads and writes, or gives its states to a head."""
    if model.get_output_embeddings() is None:
        return "FEATURE_EXTRACTION"
    return "SEQ_2_SEQ_LM" if model.config.is_encoder_decoder else "CAUSAL_LM"


def save_adapters(model: Any, folder: Path) -> None:
    """Write the adapters alone, so that plain PEFT can load them."""
    model.save_pretrained(folder)
