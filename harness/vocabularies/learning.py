"""Learning a vocabulary: the parameters that every tokenizer shares, the text it learns from, what it must reach."""

from __future__ import annotations

from dataclasses import dataclass

from harness.contract import Job, param
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


def training_corpus(job: Job) -> list[str]:
    """Return what a job learns its vocabulary from, and record its size.

    That is the training text, or so many of its documents, in an order by hash, as fit ``corpus_bytes`` of the
    technique's parameters. The last document is cut at a character, so that every size asked for is the size that is
    learnt from. Raises ``DataError`` where the training text is shorter than asked.
    """
    texts: list[str] = job.data.view("text", "train")
    if job.params.corpus_bytes is not None:
        texts = _shortened(texts, job.params.corpus_bytes, job.data.name)
    job.meter.metric("corpus_bytes", sum(len(text.encode("utf-8", "surrogatepass")) for text in texts))
    return texts


def _shortened(texts: list[str], corpus_bytes: int, name: str) -> list[str]:
    chosen, left = [], corpus_bytes
    for text in sorted(texts, key=order_of):
        piece = text.encode("utf-8", "surrogatepass")[:left]
        chosen.append(piece.decode("utf-8", "ignore"))
        left -= len(piece)
        if left <= 0:
            return chosen
    total = corpus_bytes - left
    raise DataError(f"corpus_bytes={corpus_bytes}: the training text of '{name}' has only {total} bytes")


def must_reach(asked: int, reached: int, hint: str) -> None:
    """Raise ``StepError`` where a trainer stopped short of the vocabulary asked for; ``hint`` says what to do."""
    if reached < asked:
        raise StepError(f"the text gives a vocabulary of {reached}, not {asked}: {hint}")
