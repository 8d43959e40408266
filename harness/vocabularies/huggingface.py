"""``Codec`` of the tokenizers library: whatever a ``tokenizer.json``, or GPT-2's pair of files, describes."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from harness.errors import ModelError
from harness.vocabularies.learning import END
from harness.vocabularies.pieces import byte_fallbacks, bytes_of_pieces


def read_tokenizer(folder: Path) -> Any:
    """Return the ``tokenizers.Tokenizer`` of a folder: ``tokenizer.json``, or ``vocab.json`` with ``merges.txt``."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    if (folder / "tokenizer.json").is_file():
        return Tokenizer.from_file(str(folder / "tokenizer.json"))
    pair = [folder / "vocab.json", folder / "merges.txt"]
    if not all(file.is_file() for file in pair):
        raise ModelError(f"{folder.name} has neither tokenizer.json nor vocab.json with merges.txt")
    tokenizer = Tokenizer(models.BPE.from_file(*map(str, pair)))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    if tokenizer.token_to_id(END) is not None:
        tokenizer.add_special_tokens([END])
    return tokenizer


class TokenizersCodec:
    """Encodes and decodes with the tokenizers library (Rust); a batch runs on its own thread pool."""

    library = "tokenizers"

    def __init__(self, folder: Path) -> None:
        self.tokenizer = read_tokenizer(folder)
        # Text that looks like a special token is text: what stands in a corpus must not become a command.
        self.tokenizer.encode_special_tokens = True
        self.settings = json.loads(self.tokenizer.to_str())
        self.vocabulary_size = int(self.tokenizer.get_vocab_size())
        self.byte_ids = byte_fallbacks(self.tokenizer) if self.settings["model"].get("byte_fallback") else frozenset()
        unknown = self.settings["model"].get("unk_token")
        if self.settings["model"]["type"] == "Unigram":
            self.unknown_id = self.settings["model"].get("unk_id")
        else:
            self.unknown_id = None if unknown is None else self.tokenizer.token_to_id(unknown)

    def use_threads(self, threads: int) -> None:
        """Size the library's thread pool, which is made at the first batch of the process."""
        os.environ["TOKENIZERS_PARALLELISM"] = "true" if threads > 1 else "false"
        os.environ["RAYON_NUM_THREADS"] = str(threads)

    def encode(self, text: str) -> list[int]:
        """Token ids of one text."""
        return list(self.tokenizer.encode(text, add_special_tokens=False).ids)

    def decode(self, ids: Sequence[int]) -> str:
        """Text of one sequence of ids."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=False))

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text (``encode_batch_fast``: no offsets are kept)."""
        return [found.ids for found in self.tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]

    def decode_batch(self, sequences: Sequence[Sequence[int]]) -> list[str]:
        """Text of each sequence."""
        return list(self.tokenizer.decode_batch([list(ids) for ids in sequences], skip_special_tokens=False))

    def piece(self, token: int) -> bytes | None:
        """Bytes that a token stands for within a word; None for the unknown token and for special ones."""
        return self._pieces[token]

    def describe(self) -> dict[str, Any]:
        """Library, model class, vocabulary, normaliser, pre-tokenizer and decoder."""
        parts = ("normalizer", "pre_tokenizer", "decoder")
        kinds = {part: (self.settings.get(part) or {}).get("type") for part in parts}
        model = self.settings["model"]["type"]
        return {"library": self.library, "model": model, "vocabulary": self.vocabulary_size, **kinds}

    @cached_property
    def _pieces(self) -> list[bytes | None]:
        return bytes_of_pieces(self.tokenizer, self.settings)
