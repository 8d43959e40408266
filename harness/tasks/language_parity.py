"""``language_parity``: how many more tokens one language needs than another for the same content.

Petrov et al. 2023 (arXiv:2305.15425) call the ratio the tokenizer's premium. It is taken over translated sentences.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from harness.contract import Codec, Job, Task, param


class LanguageParity(Task):
    """Tokens of the target language over tokens of the source language, for the same sentences."""

    summary = "tokens of one language over tokens of another, for the same sentences"
    requires = ("tokenizers",)
    kinds = frozenset({"none", "blank", "tokenizer", "causal", "masked", "seq2seq", "classifier"})
    needs = frozenset({"tokenizer"})
    needs_trained_weights = False
    metrics = ("token_parity", "source_fertility", "target_fertility")

    @dataclass(frozen=True)
    class Params:
        split: str = param("test", "split that is tokenised", choices=("train", "validation", "test"))

    def view(self) -> str | None:
        """Sentence pairs: ``source`` in one language, ``target`` in the other."""
        return "text_to_text"

    def score(self, scorer: Any, job: Job) -> None:
        """Count tokens of both sides of every pair; the pairs are kept, so that the ratio has an interval."""
        codec: Codec = getattr(scorer, "codec", scorer)
        with job.meter.span("data"):
            pairs = job.data.view("text_to_text", self.params.split)
        codec.use_threads(job.hardware.threads or 1)
        counts: dict[str, list[int]] = {}
        words: dict[str, int] = {}
        for side in ("source", "target"):
            texts = [pair[side] for pair in pairs]
            counts[side] = [len(ids) for ids in codec.encode_batch(texts)]
            words[side] = sum(len(text.split()) for text in texts)
            job.meter.metric(f"{side}_fertility", sum(counts[side]) / words[side])
        job.meter.metric("token_parity", sum(counts["target"]) / sum(counts["source"]))
        columns = {"source_tokens": counts["source"], "target_tokens": counts["target"]}
        job.meter.items("language_parity", {"item": list(range(len(pairs))), **columns})
