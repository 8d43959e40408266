"""``Codec`` of the sentencepiece library: what its own ``tokenizer.model`` describes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.errors import ModelError
from harness.vocabularies.sentencepiece import MODEL_FILE
from harness.vocabularies.sentencepiece_conversion import read_model


class SentencePieceCodec:
    """Encodes and decodes with the sentencepiece library (C++); a batch runs on threads of its own."""

    library = "sentencepiece"

    def __init__(self, folder: Path) -> None:
        from sentencepiece import SentencePieceProcessor

        if not (folder / MODEL_FILE).is_file():
            raise ModelError(f"{folder.name} has no {MODEL_FILE}")
        self.processor = SentencePieceProcessor(model_file=str(folder / MODEL_FILE))
        self.vocabulary_size = int(self.processor.get_piece_size())
        self.unknown_id: int | None = int(self.processor.unk_id())
        self.byte_ids = frozenset(filter(self.processor.is_byte, range(self.vocabulary_size)))
        self.threads = 1

    def use_threads(self, threads: int) -> None:
        """Set how many threads each batch may use."""
        self.threads = threads

    def encode(self, text: str) -> list[int]:
        """Token ids of one text; ``UnicodeEncodeError`` for a lone surrogate, where the library names no cause."""
        try:
            return list(self.processor.encode(text))
        except RuntimeError:
            text.encode()
            raise

    def decode(self, ids: Sequence[int]) -> str:
        """Text of one sequence of ids; the unknown token becomes the library's `` ⁇ ``, special tokens nothing."""
        return str(self.processor.decode(list(ids)))

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text."""
        return list(self.processor.encode(list(texts), num_threads=self.threads))

    def decode_batch(self, sequences: Sequence[Sequence[int]]) -> list[str]:
        """Text of each sequence."""
        return list(self.processor.decode([list(ids) for ids in sequences], num_threads=self.threads))

    def piece(self, token: int) -> bytes | None:
        """Bytes that a token stands for within a word; None for the unknown token and for special ones."""
        if self.processor.is_control(token) or self.processor.is_unknown(token):
            return None
        piece = str(self.processor.id_to_piece(token))
        return bytes([int(piece[3:5], 16)]) if token in self.byte_ids else piece.replace("▁", " ").encode()

    def describe(self) -> dict[str, Any]:
        """Library, model class, vocabulary, rule of normalisation and what happens to spaces and unknown characters."""
        proto = read_model(self.processor.serialized_model_proto())
        spec, rules = proto.trainer_spec, proto.normalizer_spec
        return {
            "library": self.library, "model": {spec.UNIGRAM: "Unigram", spec.BPE: "BPE"}[spec.model_type],
            "vocabulary": self.vocabulary_size, "normalizer": rules.name, "pre_tokenizer": None, "decoder": None,
            "remove_extra_whitespaces": rules.remove_extra_whitespaces, "add_dummy_prefix": rules.add_dummy_prefix,
            "byte_fallback": spec.byte_fallback,
        }  # fmt: skip
