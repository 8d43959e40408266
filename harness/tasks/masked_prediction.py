"""``masked_prediction``: how well a masked language model fills in held-out text.

Accuracy and loss on tokens chosen by the rule of pre-training (a share of the tokens; 80 % of these masked, 10 %
replaced at random, 10 % left), on masks that are the same for every method with the same tokenizer. Pseudo-perplexity
masks each token in turn: exp of the mean negative log p(token | all others of its window).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.contract import Job, Task, param
from harness.errors import DataError

if TYPE_CHECKING:
    from harness.models.masked import Masked, MaskedScorer


class MaskedPrediction(Task):
    """Masked-token accuracy and loss, pseudo-perplexity and pseudo bits per byte, with per-window scores."""

    summary = "masked-token accuracy and pseudo-perplexity on held-out text"
    requires = ("torch", "transformers")
    kinds = frozenset({"masked"})
    metrics = ("masked_accuracy", "masked_loss", "pseudo_perplexity", "pseudo_bits_per_byte")

    @dataclass(frozen=True)
    class Params:
        windows: int = param(64, "windows of text with masks", low=1)
        length: int = param(128, "tokens of such a window", low=2)
        mask_share: float = param(0.15, "share of the tokens that are chosen", low=0.01, high=0.9)
        pseudo_windows: int = param(16, "windows of which every token is masked in turn", low=1)
        pseudo_length: int = param(64, "tokens of such a window", low=2)
        split: str = param("test", "split that is scored", choices=("validation", "test"))

    def view(self) -> str | None:
        """Running text."""
        return "text"

    def score(self, scorer: MaskedScorer, job: Job) -> None:
        """Score the fixed masks, then every token by itself."""
        with job.meter.span("data"):
            if scorer.mask_id is None:
                raise DataError("the tokenizer has no mask token; train the model with mlm, which adds one")
            masked = self._masked(scorer, job)
            texts = self._windows(scorer, job, self.params.pseudo_windows, self.params.pseudo_length)
        self._score_masks(scorer, job, masked)
        self._score_each(scorer, job, [window["input_ids"] for window in texts])

    def _masked(self, scorer: MaskedScorer, job: Job) -> list[Masked]:
        from harness.training.masking import FIXED_SEED, Masker

        windows = self._windows(scorer, job, self.params.windows, self.params.length)
        found = Masker(scorer.tokenizer, self.params.mask_share, False, FIXED_SEED).sequences(windows)
        if not found:
            raise DataError(f"no token of '{job.data.name}' was chosen: raise windows, length or mask_share")
        chosen = sum(len(item.positions) for item in found)
        job.meter.observe("masked", {"windows": len(found), "chosen": chosen, "seed": FIXED_SEED})
        return found

    def _windows(self, scorer: MaskedScorer, job: Job, limit: int, length: int) -> list[dict[str, list[int]]]:
        from harness.training.masking import windows_to_mask

        length = min(length, scorer.max_length)
        found = windows_to_mask(job.data, self.params.split, scorer.tokenizer, length, limit)
        if not found:
            raise DataError(f"data set '{job.data.name}' has no text of two tokens in its {self.params.split} split")
        return found

    def _score_masks(self, scorer: MaskedScorer, job: Job, masked: Sequence[Masked]) -> None:
        with job.meter.span("score"):
            predictions = scorer.predict(masked)
        columns: dict[str, list[Any]] = {
            "window": list(range(len(masked))),
            "chosen": [len(item.positions) for item in masked],
            "correct": [int(item.correct.sum()) for item in predictions],
            "nll": [-float(item.log_probabilities.sum(dtype="float64")) for item in predictions],
        }
        chosen = sum(columns["chosen"])
        job.meter.metric("masked_accuracy", sum(columns["correct"]) / chosen)
        job.meter.metric("masked_loss", sum(columns["nll"]) / chosen)
        job.meter.items("masked_prediction", columns)

    def _score_each(self, scorer: MaskedScorer, job: Job, windows: Sequence[list[int]]) -> None:
        lengths, nll = scorer.token_bytes(), []
        with job.meter.span("score_each"):
            for ids in windows:
                predictions = scorer.predict(_each_masked(ids, scorer.mask_id))
                nll.append(-math.fsum(float(item.log_probabilities[0]) for item in predictions))
                job.meter.progress()
        tokens = [len(ids) for ids in windows]
        size = [sum(lengths[token] for token in ids) for ids in windows]
        job.meter.metric("pseudo_perplexity", math.exp(sum(nll) / sum(tokens)))
        job.meter.metric("pseudo_bits_per_byte", sum(nll) / math.log(2) / sum(size))
        job.meter.observe("pseudo", {"windows": len(windows), "tokens": sum(tokens), "bytes": sum(size)})
        numbers = list(range(len(windows)))
        job.meter.items("pseudo_perplexity", {"window": numbers, "nll": nll, "tokens": tokens, "bytes": size})


def _each_masked(ids: list[int], mask: int | None) -> list[Masked]:
    """One sequence per token, in which that token alone is masked."""
    from harness.models.masked import Masked

    assert mask is not None
    return [Masked([*ids[:at], mask, *ids[at + 1 :]], [at], [ids[at]]) for at in range(len(ids))]
