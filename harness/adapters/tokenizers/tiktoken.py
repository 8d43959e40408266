"""``tiktoken``: runs a byte-level BPE vocabulary that somebody else learned, in the tiktoken library."""

from __future__ import annotations

from dataclasses import dataclass

from harness.contract import Adapter, Checkpoint, Codec, Job, param
from harness.errors import StepError
from harness.memory.held import Held


class Tiktoken(Adapter):
    """Takes the vocabulary of the stage before it (``bpe > tiktoken``), of the model, or one by name.

    tiktoken has no trainer: ``train`` writes the vocabulary in its format and learns nothing.
    """

    summary = "a byte-level BPE vocabulary, run by tiktoken"
    source = "the tiktoken library; byte-level BPE as in Radford et al. 2019 (GPT-2)"
    requires = ("tiktoken", "tokenizers", "transformers")
    takes = frozenset()
    gives = frozenset({"tokenizer"})
    kinds = frozenset({"blank", "tokenizer", "none"})

    @dataclass(frozen=True)
    class Params:
        encoding: str | None = param(None, "an encoding that tiktoken knows by name, its file in TIKTOKEN_CACHE_DIR")

    def holds(self, model: Held) -> Held | None:
        """The entries of the vocabulary before it; those of a named encoding are in its file."""
        return model if self.params.encoding is None else None

    def train(self, job: Job) -> Checkpoint:
        """Write the given vocabulary as tiktoken's own file, and as a tokenizer.json with the same ids."""
        from harness.vocabularies.tiktoken import vocabulary_named, vocabulary_of, write

        given = job.checkpoint.parts.get("tokenizer")
        with job.meter.span("convert"):
            if self.params.encoding is not None:
                vocabulary = vocabulary_named(self.params.encoding)
            elif given is not None:
                vocabulary = vocabulary_of(given)
            else:
                raise StepError("tiktoken has no trainer: give it a vocabulary, e.g. bpe > tiktoken, or encoding=gpt2")
            write(vocabulary, job.part("tokenizer"))
        job.meter.metric("vocabulary_size", len(vocabulary.ranks) + len(vocabulary.special))
        return job.checkpoint.with_parts(tokenizer=job.part("tokenizer"))

    def eval(self, job: Job) -> Codec:
        """Open the vocabulary in tiktoken."""
        from harness.vocabularies.tiktoken import TiktokenCodec

        return TiktokenCodec(job.checkpoint.parts["tokenizer"])
