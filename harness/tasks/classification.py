"""``classification``: how often the class that a trained head finds most likely is the right one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from harness.contract import Job, Task, param
from harness.errors import DataError


class Classification(Task):
    """Accuracy and macro-averaged F1 over held-out texts with labels, beside the share of the commonest class."""

    summary = "accuracy and macro F1 of a trained classifier"
    requires = ("torch", "transformers")
    kinds = frozenset({"classifier"})
    metrics = ("classification_accuracy", "macro_f1", "majority_share")

    @dataclass(frozen=True)
    class Params:
        items: int = param(1000, "number of texts", low=1)
        split: str = param("test", "split that is scored", choices=("validation", "test"))

    def view(self) -> str | None:
        """Labelled texts."""
        return "labels"

    def score(self, scorer: Any, job: Job) -> None:
        """Classify every text; one whose class never occurred in training is wrong, and counted."""
        with job.meter.span("data"):
            items = job.data.view("labels", self.params.split)[: self.params.items]
        if not items:
            raise DataError(f"data set '{job.data.name}' has no labelled text to score")
        classes: list[str] = scorer.facts["classes"]
        scores = scorer.class_log_probabilities([item["text"] for item in items])
        found = [classes[int(values.argmax())] for values in scores]
        right = [item["label"] == label for item, label in zip(items, found, strict=True)]
        truth = [item["label"] for item in items]
        job.meter.metric("classification_accuracy", sum(right) / len(right))
        job.meter.metric("macro_f1", macro_f1(truth, found))
        job.meter.metric("majority_share", max(truth.count(label) for label in set(truth)) / len(truth))
        unknown = sum(label not in classes for label in truth)
        job.meter.observe("items", {"scored": len(items), "classes": len(classes), "of_unknown_class": unknown})
        columns = {"item": list(range(len(items))), "correct": [int(value) for value in right]}
        job.meter.items("classification", columns)


def macro_f1(truth: list[str], found: list[str]) -> float:
    """Mean over the classes of the truth of F1 = 2 hits / (occurrences + answers)."""
    scores = []
    for label in sorted(set(truth)):
        hits = sum(a == b == label for a, b in zip(truth, found, strict=True))
        scores.append(2 * hits / (truth.count(label) + found.count(label)))
    return sum(scores) / len(scores)
