"""Which scorer opens a checkpoint in transformers, by the checkpoint's kind: the contract's one default."""

from __future__ import annotations

from typing import Any

from harness.contract import Job


def open_scorer(job: Job) -> Any:
    """Open the job's checkpoint: ``MaskedScorer``, ``EncoderDecoderScorer``, or else ``TransformersScorer``.

    A checkpoint that is a tokenizer alone is opened as a ``Codec``.
    """
    if job.checkpoint.kind in ("tokenizer", "none", "blank"):
        from harness.vocabularies.huggingface import TokenizersCodec

        return TokenizersCodec(job.checkpoint.parts["tokenizer"])
    if job.checkpoint.kind == "masked":
        from harness.models import masked

        return masked.open_scorer(job)
    if job.checkpoint.kind == "seq2seq":
        from harness.models import encoder_decoder

        return encoder_decoder.open_scorer(job)
    from harness.models import causal

    return causal.open_scorer(job)
