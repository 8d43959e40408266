"""``sentencepiece_bpe``: byte-pair encoding over characters, learnt with the sentencepiece library."""

from __future__ import annotations

from typing import ClassVar

from harness.contract import Adapter, Checkpoint, Codec, Job
from harness.vocabularies.sentencepiece import SentencePieceParams, learn


class SentencePieceBytePairs(Adapter):
    """Merges the most frequent pair of pieces until the vocabulary is full; starts from the characters of the text."""

    summary = "byte-pair encoding over characters, by sentencepiece"
    source = "Sennrich et al. 2016, arXiv:1508.07909; Kudo and Richardson 2018, arXiv:1808.06226 (SentencePiece)"
    requires = ("sentencepiece", "google", "tokenizers", "transformers")
    takes = frozenset()
    gives = frozenset({"tokenizer"})
    kinds = frozenset({"blank", "tokenizer", "none"})
    view = "text"
    Params: ClassVar[type] = SentencePieceParams

    def train(self, job: Job) -> Checkpoint:
        """Learn the merges from the training text."""
        return learn(job, "bpe")

    def eval(self, job: Job) -> Codec:
        """Open the vocabulary in the sentencepiece library."""
        from harness.vocabularies.sentencepiece_codec import SentencePieceCodec

        return SentencePieceCodec(job.checkpoint.parts["tokenizer"])
