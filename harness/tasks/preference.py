"""``preference``: does more reward go to the answer that was preferred, on pairs that nothing was trained on?

The reward is that of the checkpoint's reward model; without one that which a policy implies over its reference,
log p(answer | prompt) - log p_reference(answer | prompt) (Rafailov et al. 2023, arXiv:2305.18290, section 4); without a
reference the model's own log-probability. Two equal rewards count one half.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.contract import Job, Task, param

BINS = 10


class Preference(Task):
    """Accuracy and margin on held-out pairs, and how well a reward model is calibrated."""

    summary = "reward of preferred answers over that of the others, on held-out pairs"
    requires = ("torch", "transformers")
    metrics = (
        "preference_accuracy", "implied_preference_accuracy", "preference_margin", "preference_calibration_error",
    )  # fmt: skip

    @dataclass(frozen=True)
    class Params:
        items: int = param(500, "number of pairs", low=1)
        length: int = param(256, "longest prompt with its answer, tokens; answers are cut", low=8)
        split: str = param("test", "split that is scored", choices=("validation", "test"))

    def view(self) -> str | None:
        """Preference pairs."""
        return "pairs"

    def score(self, scorer: Any, job: Job) -> None:
        """Score both sides of every pair."""
        from harness.models.chat import tell_rendering
        from harness.training.preferences import accuracy, answer_log_probabilities, half_for_ties, preference_pairs

        with job.meter.span("data"):
            length = min(self.params.length, scorer.max_length)
            found = preference_pairs(job.data, scorer.tokenizer, length, self.params.split, limit=self.params.items)
            found.tell(job.meter, "pairs")
            tell_rendering(job.meter, job.data.view("pairs", self.params.split), scorer.tokenizer)
            pairs = found.found
        with job.meter.span("score"):
            own = answer_log_probabilities(scorer.model, pairs, scorer.precision)
        margins, by = [mine[0] - mine[1] for mine in own], "log-probability"
        if "reference" in job.checkpoint.parts:
            of_reference = self._of_reference(pairs, job)
            margins = [mine - (theirs[0] - theirs[1]) for mine, theirs in zip(margins, of_reference, strict=True)]
            by = "implied reward"
            job.meter.metric("implied_preference_accuracy", accuracy(margins))
        if "reward" in job.checkpoint.parts:
            margins, by = self._by_reward_model(pairs, scorer, job), "reward model"
            job.meter.metric("preference_calibration_error", calibration_error(margins))
        job.meter.metric("preference_accuracy", accuracy(margins))
        job.meter.metric("preference_margin", math.fsum(margins) / len(margins))
        job.meter.observe("preference", {"by": by})
        right = [half_for_ties(margin) for margin in margins]
        job.meter.items("preference", {"item": [pair.place for pair in pairs], "correct": right, "margin": margins})

    def _of_reference(self, pairs: Sequence[Any], job: Job) -> list[tuple[float, float]]:
        from harness.models.loading import load_model
        from harness.models.reward import reference_of
        from harness.training.preferences import answer_log_probabilities

        with job.meter.span("reference"):
            reference = load_model(reference_of(job.checkpoint), job.precision, job.hardware)
            return answer_log_probabilities(reference, pairs, job.precision)

    def _by_reward_model(self, pairs: Sequence[Any], scorer: Any, job: Job) -> list[float]:
        from harness.models.reward import open_reward_model, rewards, with_padding_of_its_own

        with job.meter.span("reward"):
            tokenizer = with_padding_of_its_own(scorer.tokenizer)
            model = open_reward_model(job.checkpoint.parts["reward"], job.precision, job.hardware, tokenizer).eval()
            sides = [pair.prompt + side for pair in pairs for side in (pair.chosen, pair.rejected)]
            scores = rewards(model, sides, job.precision)
        return [scores[place] - scores[place + 1] for place in range(0, len(scores), 2)]


def calibration_error(margins: Sequence[float]) -> float:
    """Expected calibration error (Guo et al. 2017, arXiv:1706.04599) of sigmoid(|margin|), in 10 bins from 0.5 to 1."""
    from harness.training.preferences import half_for_ties

    bins: dict[int, list[tuple[float, float]]] = {}
    for margin in margins:
        confidence = 1 / (1 + math.exp(-min(abs(margin), 700.0)))
        place = min(int((confidence - 0.5) * 2 * BINS), BINS - 1)
        bins.setdefault(place, []).append((confidence, half_for_ties(margin)))
    total = 0.0
    for found in bins.values():
        total += abs(math.fsum(confidence for confidence, _ in found) - math.fsum(right for _, right in found))
    return total / len(margins)
