"""What every scorer of a live transformers model has: its tokenizer, its sizes, and what was really opened."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.contract import Codec
from harness.errors import ModelError
from harness.models import scoring
from harness.models.inspect import describe_model


class LiveModel:
    """A transformers model (or a PEFT model around one) in evaluation mode, with its tokenizer where there is one."""

    # Whether a prompt is read by an encoder, apart from what is generated.
    reads_apart = False

    def __init__(self, model: Any, tokenizer: Any, precision: str) -> None:
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.precision = precision
        self.vocabulary_size = scoring.entries(model)
        self.max_length = int(getattr(model.config, "max_position_embeddings", 0) or model.config.n_positions)
        self.eos_id = tokenizer.eos_token_id if tokenizer is not None else None

    @property
    def codec(self) -> Codec:
        """The tokenizer by itself, in the tokenizers library."""
        from harness.vocabularies.huggingface import TokenizersCodec

        if self.tokenizer is None:
            raise ModelError("the checkpoint has no tokenizer")
        return TokenizersCodec(Path(self.tokenizer.name_or_path))

    def encode(self, text: str) -> list[int]:
        """Token ids of ``text`` without special tokens."""
        return list(self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])

    def decode(self, ids: Sequence[int]) -> str:
        """Text of ``ids``, special tokens left out."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True))

    def token_bytes(self) -> list[int]:
        """UTF-8 bytes that each token id stands for."""
        return scoring.token_bytes(self.tokenizer)

    def describe(self) -> dict[str, Any]:
        """What was really opened: layer classes, weight types, parameters, quantised layers."""
        return describe_model(self.model)
