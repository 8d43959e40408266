"""Learning with sentencepiece: parameters, the lines that its trainer is fed, and its complaints in one line.

The trainer takes one line of text at a time, without its newline. So no piece holds a newline: in a text it becomes a
space (the ``nmt_`` rules), the byte ``<0x0A>`` (``byte_fallback``) or the unknown token, as it does for the library's
own users. A tab is likewise never learnt beyond the single character. Two things the library would drop without a
word are fed so that it does not: lines over 4192 bytes, and lines with U+2585, its internal mark.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from harness.contract import Checkpoint, Job, param
from harness.errors import DataError, HarnessError, StepError
from harness.vocabularies.learning import END, PAD, VocabularyParams, must_reach, training_corpus

UNKNOWN = "<unk>"
MODEL_FILE = "tokenizer.model"
RULES = ("identity", "nfkc", "nmt_nfkc", "nfkc_cf", "nmt_nfkc_cf")

# At most 4 bytes each, so that every line stays below the 4192 bytes above which the library skips it.
LONGEST_LINE = 1024

# Unigram's sums depend, in their last bits, on how many threads share them, and with them the vocabulary.
THREADS = 1

STOPS_SHORT = "give more text, or lower vocab_size"

_BREAKS = re.compile("[\n\u2585]")


@dataclass(frozen=True)
class SentencePieceParams(VocabularyParams):
    """Parameters of both of sentencepiece's models; the defaults are the library's own.

    Lossless, as of Llama, are ``normalization=identity, keep_whitespace=true, byte_fallback=true``.
    """

    normalization: str = param("nmt_nfkc", "the library's rule by which text is rewritten first", choices=RULES)
    keep_whitespace: bool = param(
        False, "every space stays, runs may become pieces, none is put in front; else spaces are trimmed and collapsed"
    )
    byte_fallback: bool = param(False, "256 entries are bytes, which spell what is unknown")
    character_coverage: float = param(
        0.9995, "share of the text whose characters get an entry of their own", low=0.98, high=1.0
    )


def learn(job: Job, kind: str) -> Checkpoint:
    """Learn a vocabulary of ``kind`` (``unigram`` or ``bpe``) from the training text of ``job``.

    The part ``tokenizer`` holds the library's ``tokenizer.model`` and a ``tokenizer.json`` with the same ids.
    """
    params: SentencePieceParams = job.params
    with job.meter.span("data"):
        lines = list(lines_to_learn(training_corpus(job), job.data.name))
    with job.meter.span("train"):
        model = _train(lines, kind, params)
    with job.meter.span("save"):
        size = _save(model, job)
    must_reach(params.vocab_size, size, STOPS_SHORT)
    job.meter.metric("vocabulary_size", size)
    return job.checkpoint.with_parts(tokenizer=job.part("tokenizer"))


def lines_to_learn(texts: Sequence[str], name: str) -> Iterator[bytes]:
    """Yield the non-empty lines of ``texts`` as UTF-8, the long ones in several; together they are the whole text.

    ``DataError`` where the data set ``name`` holds half of a surrogate pair, which UTF-8 cannot.
    """
    for text in texts:
        for line in _BREAKS.split(text):
            for part in _parts(line):
                try:
                    yield part.encode()
                except UnicodeEncodeError as error:
                    raise DataError(f"'{name}' holds a lone surrogate in {part[:40]!r}: it is not text") from error


def _parts(line: str) -> Iterator[str]:
    """Cut a long line before a space: words are learnt alone, so there a cut changes nothing; else where it must be."""
    start = 0
    while len(line) - start > LONGEST_LINE:
        space = line.rfind(" ", start + 1, start + LONGEST_LINE + 1)
        cut = space if space > 0 else start + LONGEST_LINE
        yield line[start:cut]
        start = cut
    if start < len(line):
        yield line[start:]


def _train(lines: Sequence[bytes], kind: str, params: SentencePieceParams) -> bytes:
    """Return the serialised model."""
    from sentencepiece import SentencePieceTrainer

    written = io.BytesIO()
    try:
        SentencePieceTrainer.train(
            sentence_iterator=iter(lines), model_writer=written, model_type=kind, vocab_size=params.vocab_size,
            normalization_rule_name=params.normalization, remove_extra_whitespaces=not params.keep_whitespace,
            allow_whitespace_only_pieces=params.keep_whitespace, add_dummy_prefix=not params.keep_whitespace,
            byte_fallback=params.byte_fallback, character_coverage=params.character_coverage,
            eos_id=0, pad_id=1, unk_id=2, bos_id=-1, eos_piece=END, pad_piece=PAD, unk_piece=UNKNOWN,
            num_threads=THREADS, minloglevel=2,
        )  # fmt: skip
    except RuntimeError as error:
        raise _in_one_line(str(error), params) from error
    return written.getvalue()


def _in_one_line(complaint: str, params: SentencePieceParams) -> HarnessError:
    """The trainer's complaint as what is wrong and what to do; raises that itself where the text is too short."""
    if "sentences_.empty()" in complaint or "all_chars_count" in complaint:
        return DataError("the training text has nothing to learn from: every document is empty or white space")
    if found := re.search(r"set it to a value <= (\d+)", complaint):
        must_reach(params.vocab_size, int(found[1]), STOPS_SHORT)
    if found := re.search(r"smaller than required_chars\. \d+ vs (\d+)", complaint):
        bytes_too = ", the 256 bytes" if params.byte_fallback else ""
        need = f"the characters{bytes_too} and the special tokens take {found[1]} entries"
        return StepError(f"vocab_size={params.vocab_size} is too small, {need}: raise it or lower character_coverage")
    return StepError(f"sentencepiece cannot learn from this text: {complaint.splitlines()[0]}")


def _save(model: bytes, job: Job) -> int:
    """Write both forms into the part ``tokenizer``; return the number of entries."""
    from transformers import PreTrainedTokenizerFast

    from harness.vocabularies.sentencepiece_conversion import tokenizer_of

    folder = job.part("tokenizer")
    tokenizer = tokenizer_of(model)
    specials: dict[str, Any] = {"bos_token": END, "eos_token": END, "pad_token": PAD, "unk_token": UNKNOWN}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **specials).save_pretrained(folder)
    (folder / MODEL_FILE).write_bytes(model)
    return int(tokenizer.get_vocab_size())
