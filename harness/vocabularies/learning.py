"""Learning a vocabulary: the parameters that every tokenizer shares, the text it learns from, what it must reach."""

from __future__ import annotations

from dataclasses import dataclass

from harness.contract import Dataset, param
from harness.data.splits import order_of
from harness.errors import DataError, StepError

END = "<|endoftext|>"
PAD = "<|pad|>"
SPECIAL = (END, PAD)


@dataclass(frozen=True)
class VocabularyParams:
    """Parameters that every technique that learns a vocabulary shares."""

    vocab_size: int = param(2048, "entries of the vocabulary, special tokens included", low=16)
    corpus_bytes: int | None = param(None, "learn from at most so many UTF-8 bytes of the training text", low=1)


def training_corpus(data: Dataset, corpus_bytes: int | None) -> list[str]:
    """Return the documents of the training text, or so many of them, in an order by hash, as fit ``corpus_bytes``.

    The last document is cut at a character, so that every size asked for is the size that is learnt from. Raises
    ``DataError`` where the training text is shorter than asked.
    """
    texts: list[str] = data.view("text", "train")
    if corpus_bytes is None:
        return texts
    chosen, left = [], corpus_bytes
    for text in sorted(texts, key=order_of):
        piece = text.encode("utf-8", "surrogatepass")[:left]
        chosen.append(piece.decode("utf-8", "ignore"))
        left -= len(piece)
        if left <= 0:
            return chosen
    total = corpus_bytes - left
    raise DataError(f"corpus_bytes={corpus_bytes}: the training text of '{data.name}' has only {total} bytes")


def must_reach(asked: int, reached: int, hint: str) -> None:
    """Raise ``StepError`` where a trainer stopped short of the vocabulary asked for; ``hint`` says what to do."""
    if reached < asked:
        raise StepError(f"the text gives a vocabulary of {reached}, not {asked}: {hint}")
