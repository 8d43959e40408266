"""``denoising``: how well an encoder-decoder restores held-out text whose corruption is the same at every evaluation.

The loss is per token of the target (sentinels and the end of text included), with the target's tokens before it given.
Bits per byte count the hidden tokens alone, those that the source does not show, over the bytes that they stand for.
Losses of the two objectives do not compare: infilling gives the whole text, most of which the source shows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.contract import Job, Task, param
from harness.errors import DataError

if TYPE_CHECKING:
    from harness.models.encoder_decoder import EncoderDecoderScorer
    from harness.training.corruption import Corrupted


class Denoising(Task):
    """Loss on corrupted held-out text and bits per byte of what was hidden, with per-window scores."""

    summary = "loss on restoring corrupted held-out text"
    requires = ("torch", "transformers")
    kinds = frozenset({"seq2seq"})
    metrics = ("denoising_loss", "denoising_bits_per_byte")

    @dataclass(frozen=True)
    class Params:
        objective: str | None = param(
            None,
            "how text is corrupted; where not given, as the tokenizer was prepared for",
            choices=("span_corruption", "text_infilling"),
        )
        density: float | None = param(None, "share of the tokens that are hidden; 0.15 or 0.3", low=0.01, high=0.9)
        mean_span_length: float = param(3.0, "mean length of a hidden span in tokens", low=1.0)
        permute: bool = param(True, "text infilling also permutes the lines of each document")
        windows: int = param(64, "windows of text", low=1)
        length: int = param(128, "tokens of a window, its end included", low=3)
        split: str = param("test", "split that is scored", choices=("validation", "test"))

    def view(self) -> str | None:
        """Running text."""
        return "text"

    def score(self, scorer: EncoderDecoderScorer, job: Job) -> None:
        """Score the target of every window."""
        with job.meter.span("data"):
            found, lengths = self._corrupted(scorer, job), scorer.token_bytes()
        with job.meter.span("score"):
            scores = scorer.target_log_probabilities([(item.source, item.target) for item in found])
        columns: dict[str, list[float]] = {
            "window": list(range(len(found))),
            "nll": [-float(values.sum(dtype="float64")) for values in scores],
            "tokens": [len(item.target) for item in found],
            "hidden_nll": [
                -float(values[item.hidden].sum(dtype="float64")) for item, values in zip(found, scores, strict=True)
            ],
            "hidden_bytes": [
                sum(lengths[token] for token, hidden in zip(item.target, item.hidden, strict=True) if hidden)
                for item in found
            ],
        }
        job.meter.metric("denoising_loss", sum(columns["nll"]) / sum(columns["tokens"]))
        bits = sum(columns["hidden_nll"]) / math.log(2)
        job.meter.metric("denoising_bits_per_byte", bits / sum(columns["hidden_bytes"]))
        job.meter.items("denoising", columns)

    def _corrupted(self, scorer: EncoderDecoderScorer, job: Job) -> list[Corrupted]:
        from harness.training.denoising import DENSITIES, FIXED_SEED, corrupted_windows, rule_for

        given = self.params
        rule = rule_for(scorer.tokenizer, given.objective, given.density, given.mean_span_length, given.permute)
        length = min(given.length, scorer.max_length)
        found = corrupted_windows(job.data, given.split, scorer.tokenizer, rule, length, given.windows)
        if not found:
            raise DataError(f"data set '{job.data.name}' has no text of two tokens in its {given.split} split")
        facts = {"objective": rule.objective, "density": rule.density or DENSITIES[rule.objective]}
        sizes = {"windows": len(found), "hidden": sum(sum(item.hidden) for item in found), "seed": FIXED_SEED}
        job.meter.observe("corruption", facts | sizes)
        return found
