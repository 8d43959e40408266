"""Which numbers are watched for regressions, how each is compared, and how large a change must be to count.

One number per thing that can get worse: tokens per second and seconds per step are one, so one of them is here. A
change that is smaller than ``smallest`` is no news, however certain; how certain it must be depends on the kind.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from harness.analyse.paired import RECIPES
from harness.metrics import METRICS

Kind = Literal["time", "memory", "exact", "quality"]


@dataclass(frozen=True)
class Watched:
    """How a metric is watched. ``smallest``: the smallest change that counts, as a share of the value before, or in
    the metric's own unit where ``absolute`` (shares, which may be 0).
    """

    metric: str
    kind: Kind
    smallest: float
    absolute: bool = False

    @property
    def direction(self) -> str:
        """Which way is better; ``none`` where any change is news."""
        return METRICS[self.metric].direction

    def effect(self, before: float, after: float) -> float | None:
        """By how much ``after`` differs from ``before``, in the scale of ``smallest``; None where that means nothing.

        A positive effect is an increase, whichever way is better.
        """
        if self.absolute:
            return after - before
        return None if before == 0 else after / before - 1

    def counts(self, before: float, after: float) -> bool:
        """Whether the change is large enough to be news."""
        found = self.effect(before, after)
        return after != before if found is None else abs(found) > self.smallest

    def worse(self, before: float, after: float) -> bool:
        """Whether ``after`` is on the wrong side of ``before``; either side is, of a fact without a better one."""
        return after != before if self.direction == "none" else (after > before) == (self.direction == "lower")


_TIMES = (
    "tokens_per_second", "time_to_first_token_seconds", "decode_tokens_per_second", "encode_megabytes_per_second",
    "decode_megabytes_per_second", "communication_seconds", "teacher_seconds", "wall_seconds", "harness_seconds",
)  # fmt: skip
_PEAKS = (
    "peak_memory_bytes", "training_memory_bytes", "tensor_memory_bytes", "cuda_peak_allocated_bytes",
    "rank_parameter_bytes", "rank_gradient_bytes", "rank_optimizer_bytes",
)  # fmt: skip
_EXACT = (
    "parameters", "trainable_parameters", "checkpoint_bytes", "vocabulary_size", "optimizer_steps", "train_tokens",
    "largest_batch", "longest_sequence",
)  # fmt: skip
# Other forms of a number that is watched already: of the same losses, of the same choices.
_SAID_ALREADY = frozenset({"loss", "bits_per_byte", "pseudo_loss", "pseudo_bits_per_byte", "denoising_loss",
                           "choice_accuracy_sum", "masked_loss", "answer_tokens", "lm_eval_loss", "lm_eval_word_loss",
                           "lm_eval_byte_loss"})  # fmt: skip
# Distances from a reference, which say nothing of each other where that is not the same.
FROM_REFERENCE = frozenset({"kl_divergence", "top1_agreement"})
_DIVERGENCES = frozenset({"kl_divergence", "kl_from_reference"})
_FURTHER = (
    "chrf", "bleu", "macro_f1", "validation_loss", "train_loss_last", "lm_eval_f1", "lm_eval_mcc",
    "lm_eval_brier_score", "lm_eval_bleu", "lm_eval_chrf", "lm_eval_ter",
)  # fmt: skip

TIME_EFFECT, MEMORY_EFFECT, SIZE_EFFECT, QUALITY_EFFECT, DIVERGENCE_EFFECT = 0.03, 0.03, 0.001, 0.005, 0.05


def _quality(name: str) -> Watched:
    if name in _DIVERGENCES:
        return Watched(name, "quality", DIVERGENCE_EFFECT)
    absolute = METRICS[name].unit == "share" or name in ("preference_margin", "judge_reward", "training_reward")
    return Watched(name, "quality", QUALITY_EFFECT, absolute)


WATCHED: dict[str, Watched] = {
    one.metric: one
    for one in (
        *(Watched(name, "time", TIME_EFFECT) for name in _TIMES),
        Watched("meter_overhead_share", "time", TIME_EFFECT, absolute=True),
        *(Watched(name, "memory", MEMORY_EFFECT) for name in _PEAKS),
        *(Watched(name, "exact", SIZE_EFFECT if METRICS[name].unit == "B" else 0.0) for name in _EXACT),
        *(_quality(name) for name in (*RECIPES, *_FURTHER) if name not in _SAID_ALREADY),
    )
}
