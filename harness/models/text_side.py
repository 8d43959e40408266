"""What every scorer of a model has beside the model: its tokenizer, by which text becomes ids and ids become text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.contract import Codec
from harness.errors import ModelError
from harness.models import scoring


class TextSide:
    """A tokenizer of transformers, or none."""

    # Whether a prompt is read by an encoder, apart from what is generated.
    reads_apart = False

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
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
