"""``wordpiece``: pieces of words, by the criterion that was published, the one that users run, or the popular one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.contract import Adapter, Checkpoint, Codec, Job, Meter, param
from harness.errors import StepError
from harness.vocabularies.learning import END, PAD, VocabularyParams, must_reach, training_corpus

if TYPE_CHECKING:
    from collections.abc import Sequence


class WordPiece(Adapter):
    """Merges neighbouring pieces of words until the vocabulary is full; a word is cut by the longest piece that fits.

    ``criterion`` says which merge comes next: ``frequency`` is the trainer of the tokenizers library, ``likelihood``
    the published rule, ``ratio`` what tutorials call WordPiece (formulas in ``harness.vocabularies.wordpiece``). Only
    the vocabulary differs: words, first pieces and encoder are the same. ``pre_tokenizer=bert`` splits at white space
    and around punctuation as BERT does, in the case and with the accents of the text, and white space is lost;
    ``byte_level`` splits as GPT-2 and gives the text back. A word of over 100 characters or bytes becomes unknown.
    The span ``train`` counts the words for every criterion, for ``frequency`` on top of the library's own count.
    """

    summary = "pieces of words, longest first, by the published or the usual criterion"
    source = "Schuster & Nakajima 2012 (ICASSP), Japanese and Korean voice search; as in BERT, arXiv:1810.04805"
    requires = ("tokenizers", "transformers")
    takes = frozenset()
    gives = frozenset({"tokenizer"})
    kinds = frozenset({"blank", "tokenizer", "none"})
    view = "text"

    @dataclass(frozen=True)
    class Params(VocabularyParams):
        criterion: str = param(
            "frequency", "which merge comes next: the most frequent pair, the largest gain in likelihood, n/(n_a n_b)",
            choices=("frequency", "likelihood", "ratio"),
        )  # fmt: skip
        min_frequency: int = param(2, "a pair must occur this often to be merged; the ratio needs hundreds", low=1)
        pre_tokenizer: str = param(
            "bert", "what splits text into words: BERT's rules, which lose white space, or GPT-2's, over bytes",
            choices=("bert", "byte_level"),
        )  # fmt: skip

    def train(self, job: Job) -> Checkpoint:
        """Count the words of the training text and choose the pieces."""
        from transformers import PreTrainedTokenizerFast

        from harness.vocabularies.wordpiece import UNKNOWN, tokenizer_of

        with job.meter.span("data"):
            texts = training_corpus(job)
        with job.meter.span("train"):
            pieces = self._learn(texts, job.meter)
        must_reach(self.params.vocab_size, len(pieces), "give more text, or lower vocab_size or min_frequency")
        with job.meter.span("save"):
            fast = PreTrainedTokenizerFast(
                tokenizer_object=tokenizer_of(pieces, self.params.pre_tokenizer),
                unk_token=UNKNOWN, bos_token=END, eos_token=END, pad_token=PAD,
            )  # fmt: skip
            fast.save_pretrained(job.part("tokenizer"))
        job.meter.metric("vocabulary_size", len(pieces))
        return job.checkpoint.with_parts(tokenizer=job.part("tokenizer"))

    def eval(self, job: Job) -> Codec:
        """Open the vocabulary in the tokenizers library."""
        from harness.vocabularies.huggingface import TokenizersCodec

        return TokenizersCodec(job.checkpoint.parts["tokenizer"])

    def _learn(self, texts: Sequence[str], meter: Meter) -> list[str]:
        from harness.vocabularies.wordpiece import count_words, first_pieces, learn, learn_with_library

        size, splitting, least = self.params.vocab_size, self.params.pre_tokenizer, self.params.min_frequency
        # The library counts words by itself; what it is told of the alphabet is not its training.
        by_library = self.params.criterion == "frequency"
        with meter.span("alphabet" if by_library else "train"):
            words = count_words(texts, splitting)
            first = first_pieces(words, splitting)
        if size < len(first):
            raise StepError(f"vocab_size={size}: special tokens and single characters alone need at least {len(first)}")
        if by_library:
            return learn_with_library(texts, first, splitting, size, least)
        return learn(words, first, splitting, size, least, self.params.criterion)
