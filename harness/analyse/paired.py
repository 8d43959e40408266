"""Per-item scores of a group of cells, averaged over its seeds, ready to be compared paired.

Knows which item columns a metric is made of; a metric that is not listed here has no per-item form.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy
import numpy.typing
import pandas

from harness.analyse.statistics import (
    Interval,
    mcnemar,
    paired_difference,
    paired_ratio_difference,
)

Numbers = numpy.typing.NDArray[numpy.float64]


@dataclass(frozen=True)
class Recipe:
    """metric = transform(factor * sum(amount [* weight]) / sum(weight)) over the items of ``set``.

    ``own_weights``: the weights are what a method makes of the same items (its tokens), not what the items are.
    """

    set: str
    amount: str
    weight: str | None = None
    amount_is_mean: bool = False
    factor: float = 1.0
    transform: Callable[[float], float] | None = None
    right_or_wrong: bool = False
    own_weights: bool = False


RECIPES = {
    "loss": Recipe("perplexity", "nll", "tokens"),
    "perplexity": Recipe("perplexity", "nll", "tokens", transform=math.exp),
    "bits_per_byte": Recipe("perplexity", "nll", "bytes", factor=1 / math.log(2)),
    "kl_divergence": Recipe("perplexity", "kl", "tokens", amount_is_mean=True),
    "top1_agreement": Recipe("perplexity", "agree", "tokens", amount_is_mean=True),
    "bytes_per_token": Recipe("tokenization", "bytes", "tokens", own_weights=True),
    "fertility": Recipe("tokenization", "tokens", "words"),
    "round_trip_share": Recipe("tokenization", "exact", right_or_wrong=True),
    "token_parity": Recipe("language_parity", "target_tokens", "source_tokens", own_weights=True),
    "classification_accuracy": Recipe("classification", "correct", right_or_wrong=True),
    "rouge_l": Recipe("text_generation", "rouge_l"),
    "masked_accuracy": Recipe("masked_prediction", "correct", "chosen"),
    "masked_loss": Recipe("masked_prediction", "nll", "chosen"),
    "pseudo_loss": Recipe("pseudo_perplexity", "nll", "tokens"),
    "pseudo_perplexity": Recipe("pseudo_perplexity", "nll", "tokens", transform=math.exp),
    "pseudo_bits_per_byte": Recipe("pseudo_perplexity", "nll", "bytes", factor=1 / math.log(2)),
    "denoising_loss": Recipe("denoising", "nll", "tokens"),
    "denoising_bits_per_byte": Recipe("denoising", "hidden_nll", "hidden_bytes", factor=1 / math.log(2)),
    "choice_accuracy": Recipe("choice", "correct", right_or_wrong=True),
    "choice_accuracy_sum": Recipe("choice", "correct_sum", right_or_wrong=True),
    "preference_accuracy": Recipe("preference", "correct", right_or_wrong=True),
    "preference_margin": Recipe("preference", "margin"),
    "judge_reward": Recipe("judged", "judge_reward"),
    "judge_accuracy": Recipe("judge", "correct"),
    "training_reward": Recipe("judged", "training_reward"),
    "kl_from_reference": Recipe("judged", "kl_from_reference"),
    "answer_tokens": Recipe("judged", "tokens"),
    "lm_eval_acc": Recipe("lm_eval", "acc", right_or_wrong=True),
    "lm_eval_acc_norm": Recipe("lm_eval", "acc_norm", right_or_wrong=True),
    "lm_eval_acc_bytes": Recipe("lm_eval", "acc_bytes", right_or_wrong=True),
    "lm_eval_acc_mutual_info": Recipe("lm_eval", "acc_mutual_info", right_or_wrong=True),
    "lm_eval_exact_match": Recipe("lm_eval", "exact_match", right_or_wrong=True),
    "lm_eval_loss": Recipe("lm_eval", "nll"),
    "lm_eval_perplexity": Recipe("lm_eval", "nll", transform=math.exp),
    "lm_eval_word_loss": Recipe("lm_eval", "nll", "words"),
    "lm_eval_word_perplexity": Recipe("lm_eval", "nll", "words", transform=math.exp),
    "lm_eval_byte_loss": Recipe("lm_eval", "nll", "bytes"),
    "lm_eval_byte_perplexity": Recipe("lm_eval", "nll", "bytes", transform=math.exp),
    "lm_eval_bits_per_byte": Recipe("lm_eval", "nll", "bytes", factor=1 / math.log(2)),
}


# Means over tokens: they do not compare across tokenizers, paired or not.
PER_TOKEN = frozenset(
    {"loss", "perplexity", "kl_divergence", "top1_agreement", "masked_accuracy", "masked_loss", "pseudo_perplexity",
     "pseudo_loss", "denoising_loss"}
)  # fmt: skip
# Metrics that are compared paired on the scale below their transformation.
UNTRANSFORMED = {
    "perplexity": "loss", "pseudo_perplexity": "pseudo_loss", "lm_eval_perplexity": "lm_eval_loss",
    "lm_eval_word_perplexity": "lm_eval_word_loss", "lm_eval_byte_perplexity": "lm_eval_byte_loss",
}  # fmt: skip


def difference(metric: str, first: pandas.DataFrame, second: pandas.DataFrame) -> tuple[Interval | None, float | None]:
    """first - second on the items that both have, and the exact McNemar p-value where items are right or wrong.

    For a transformed metric (perplexity) there is no difference of its own: that of the loss tells the same. Items
    that weigh differently are not the same (windows cut by two tokenizers); they are compared by document, where they
    tell it and the metric is one that compares across tokenizers.
    """
    recipe = RECIPES[metric]
    first, second = _on_the_same_items(first, second)
    if not len(first) or recipe.transform is not None:
        return None, None
    one, other = first["amount"].tolist(), second["amount"].tolist()
    if recipe.own_weights or not _same(first["weight"].to_numpy(), second["weight"].to_numpy()):
        if not recipe.own_weights:
            first, second = _on_the_same_items(_by_document(first), _by_document(second))
        if metric in PER_TOKEN or not len(first):
            return None, None
        one_pair, other_pair = ((frame["amount"].tolist(), frame["weight"].tolist()) for frame in (first, second))
        return paired_ratio_difference(one_pair, other_pair), None
    found = paired_difference(one, other, first["weight"].tolist())
    binary = recipe.right_or_wrong and set(one) | set(other) <= {0.0, 1.0}
    return found, mcnemar(one, other) if binary else None


def _on_the_same_items(first: pandas.DataFrame, second: pandas.DataFrame) -> tuple[pandas.DataFrame, pandas.DataFrame]:
    if first.index.equals(second.index):
        return first, second
    first, second = (frame[~frame.index.duplicated()] for frame in (first, second))
    shared = first.index.intersection(second.index)
    return first.loc[shared], second.loc[shared]


def _same(first: Numbers, second: Numbers) -> bool:
    return numpy.array_equal(first, second) or numpy.allclose(first, second)


def _by_document(frame: pandas.DataFrame) -> pandas.DataFrame:
    """Sums over the items of each document; empty where the items do not tell it."""
    return frame.dropna(subset=["document"]).groupby("document")[["amount", "weight"]].sum()
