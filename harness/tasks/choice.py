"""``choice``: which of the options belongs to the prompt, by the model's own probabilities or by a head trained for it.

An option's score is log p(option | prompt) - log p(option), so that options of unequal likelihood compete on what the
prompt adds; the plain sums log p(option | prompt) are reported beside it. ``p(option)`` is read after the end-of-text
token, where a document begins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.contract import Job, Scorer, Task, param
from harness.errors import DataError


class Choice(Task):
    """Accuracy over multiple-choice items, with per-item scores for paired comparison."""

    summary = "multiple choice by log-probability, with and without the prior of each option"
    requires = ("torch", "transformers")
    kinds = frozenset({"causal", "multiple_choice"})
    metrics = ("choice_accuracy", "choice_accuracy_sum")

    @dataclass(frozen=True)
    class Params:
        items: int = param(1000, "number of items", low=1)
        split: str = param("test", "split that is scored", choices=("validation", "test"))

    def view(self) -> str | None:
        """Choice items."""
        return "choices"

    def score(self, scorer: Any, job: Job) -> None:
        """Score every option of every item.

        An item that does not fit the model's context is left out and counted; a trained head reads the text's first
        tokens, as it learnt to.
        """
        with job.meter.span("data"):
            items = job.data.view("choices", self.params.split)[: self.params.items]
        if hasattr(scorer, "option_scores"):
            _by_head(items, scorer, job)
        else:
            _by_probability(items, scorer, job)


def _by_head(items: Sequence[dict[str, Any]], scorer: Any, job: Job) -> None:
    with job.meter.span("score"):
        scores = scorer.option_scores(items)
    margins = [_margin(int(item["label"]), values) for item, values in zip(items, scores, strict=True)]
    right = [margin > 0 for margin in margins]
    job.meter.metric("choice_accuracy", sum(right) / len(right))
    job.meter.observe("items", {"scored": len(items), "left_out": 0, "options": len(items[0]["options"])})
    correct = [int(value) for value in right]
    job.meter.items("choice", {"item": list(range(len(items))), "correct": correct, "margin": margins})


def _by_probability(items: Sequence[dict[str, Any]], scorer: Scorer, job: Job) -> None:
    with job.meter.span("data"):
        encoded, left_out = _encode(items, scorer)
    if not encoded:
        raise DataError(f"no choice item of '{job.data.name}' fits the context of {scorer.max_length} tokens")
    with job.meter.span("score"):
        sums = _conditional(encoded, scorer)
    with job.meter.span("score_prior"):
        priors = _unconditional(encoded, scorer)
    gains = [[a - b for a, b in zip(*pair, strict=True)] for pair in zip(sums, priors, strict=True)]
    margins = [_margin(item.label, values) for item, values in zip(encoded, gains, strict=True)]
    # A tie is not an answer: a model that prefers nothing must not gain from where the right option stands.
    right = [margin > 0 for margin in margins]
    right_sum = [_margin(item.label, values) > 0 for item, values in zip(encoded, sums, strict=True)]
    job.meter.metric("choice_accuracy", sum(right) / len(right))
    job.meter.metric("choice_accuracy_sum", sum(right_sum) / len(right_sum))
    job.meter.observe("items", {"scored": len(encoded), "left_out": left_out, "options": len(encoded[0].options)})
    job.meter.items(
        "choice",
        {
            "item": [item.index for item in encoded],
            "correct": [int(value) for value in right],
            "correct_sum": [int(value) for value in right_sum],
            "margin": margins,
        },
    )


@dataclass(frozen=True)
class _Item:
    index: int
    prompt: list[int]
    options: list[list[int]]
    label: int


def _encode(items: Sequence[dict[str, Any]], scorer: Scorer) -> tuple[list[_Item], int]:
    found, left_out = [], 0
    for index, item in enumerate(items):
        prompt = [_start(scorer), *scorer.encode(item["prompt"])]
        options = [scorer.encode(option) for option in item["options"]]
        if len(prompt) + max(map(len, options)) > scorer.max_length or not all(options):
            left_out += 1
            continue
        found.append(_Item(index, prompt, options, int(item["label"])))
    return found, left_out


def _start(scorer: Scorer) -> int:
    token = scorer.bos_id if scorer.bos_id is not None else scorer.eos_id
    if token is None:
        raise DataError("the tokenizer has neither a beginning-of-text nor an end-of-text token")
    return token


def _conditional(items: list[_Item], scorer: Scorer) -> list[list[float]]:
    sequences = [item.prompt + option for item in items for option in item.options]
    scores = iter(scorer.target_log_probabilities(sequences))
    return [[float(next(scores)[len(item.prompt) - 1 :].sum()) for _ in item.options] for item in items]


def _unconditional(items: list[_Item], scorer: Scorer) -> list[list[float]]:
    """Priors of the options; one that stands in several items is scored once."""
    start = _start(scorer)
    distinct = sorted({tuple(option) for item in items for option in item.options})
    scores = scorer.target_log_probabilities([[start, *option] for option in distinct])
    prior = {option: float(values.sum()) for option, values in zip(distinct, scores, strict=True)}
    return [[prior[tuple(option)] for option in item.options] for item in items]


def _margin(label: int, values: Sequence[float]) -> float:
    return values[label] - max(value for index, value in enumerate(values) if index != label)
