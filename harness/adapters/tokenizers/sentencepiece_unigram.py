"""``sentencepiece_unigram``: unigram language model over subwords, learnt with the sentencepiece library."""

from __future__ import annotations

from typing import ClassVar

from harness.contract import Adapter, Checkpoint, Codec, Job
from harness.vocabularies.sentencepiece import SentencePieceParams, learn


class SentencePieceUnigram(Adapter):
    """Prunes a large set of substrings to those that make the text most likely; encodes by the likeliest path."""

    summary = "unigram language model over subwords, by sentencepiece"
    source = "Kudo 2018, arXiv:1804.10959; Kudo and Richardson 2018, arXiv:1808.06226 (SentencePiece)"
    requires = ("sentencepiece", "google", "tokenizers", "transformers")
    takes = frozenset()
    gives = frozenset({"tokenizer"})
    kinds = frozenset({"blank", "tokenizer", "none"})
    view = "text"
    Params: ClassVar[type] = SentencePieceParams

    def train(self, job: Job) -> Checkpoint:
        """Learn the pieces and their probabilities from the training text."""
        return learn(job, "unigram")

    def eval(self, job: Job) -> Codec:
        """Open the vocabulary in the sentencepiece library."""
        from harness.vocabularies.sentencepiece_codec import SentencePieceCodec

        return SentencePieceCodec(job.checkpoint.parts["tokenizer"])
