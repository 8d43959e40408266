"""Training a linear head over a model's mean state, whatever a technique changes of the model below it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.contract import KIND_OF_HEAD, Checkpoint, Job
from harness.data.windows import spread
from harness.errors import DataError
from harness.models.loading import autocast, load_tokenizer
from harness.models.pooled import below_head, save_head, truncated
from harness.models.scoring import padded
from harness.training.change import Change, all_weights, finished, merged_first, open_or_make, save
from harness.training.examples import tokenize
from harness.training.loop import train
from harness.training.seeding import seed_everything
from harness.training.setup import training_setup

VALIDATION_TEXTS = 128  # of multiple choice, each option is one


@dataclass(frozen=True)
class Examples:
    """Training and validation examples of one view, and the classes that the labels are numbers of."""

    train: list[dict[str, Any]]
    validation: list[dict[str, Any]]
    classes: list[str]


def train_head(job: Job, change: Change | None, view: str) -> Checkpoint:
    """Train a head for ``view`` (``labels`` or ``choices``), and below it what ``change`` makes trainable.

    Without a change the model stays as it is, which is a probe.
    """
    setup = training_setup(job)
    meter = job.meter
    with meter.span("load"):
        tokenizer = load_tokenizer(job.checkpoint)
        start = merged_first(job)
    with meter.span("data"):
        examples = _examples(job, view, tokenizer, setup.sequence_length)
    with meter.span("load"):
        backbone = open_or_make(start, tokenizer, job, setup, change=change, headless=True)
        seed_everything(job.seed)
        facts = {"view": view, "classes": examples.classes, "length": setup.sequence_length}
        model = below_head(backbone, job.precision, facts)
        model.requires_grad_(False)
        model.head.requires_grad_(True)
        if change is not None:
            model.set_reader(change.prepare(model.reader(), setup))
    evaluate = _evaluator(model, examples.validation, setup.precision, job.hardware.device)
    kind = KIND_OF_HEAD[view]
    train(job, setup, model, tokenizer, examples.train, evaluate, kind=kind, collator=collate)
    change = change or all_weights()
    save(job, setup, model, lambda: _write(model, change, job.part(change.part)))
    return finished(job, start, change, kind)


def _write(model: Any, change: Change, folder: Path) -> None:
    change.save(model.backbone if change.part == "model" else model.reader(), folder)
    save_head(model, folder)


def collate(batch: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """``input_ids`` and ``attention_mask`` [texts, longest] or [items, options, longest], ``labels`` [items]."""
    import torch

    ids, mask = padded([row for example in batch for row in example["rows"]])
    labels = torch.tensor([example["label"] for example in batch], dtype=torch.long)
    if len(ids) > len(batch):
        ids, mask = (values.reshape(len(batch), -1, values.shape[-1]) for values in (ids, mask))
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def _examples(job: Job, view: str, tokenizer: Any, length: int) -> Examples:
    items = {split: job.data.view(view, split) for split in ("train", "validation")}
    options = len(items["train"][0]["options"]) if view == "choices" else 1
    items["validation"] = spread(items["validation"], VALIDATION_TEXTS // options)
    if view == "choices":
        made = {split: _choices(found, tokenizer, length) for split, found in items.items()}
        return Examples(made["train"], made["validation"], [])
    classes = sorted({item["label"] for item in items["train"]})
    if len(classes) < 2:
        raise DataError(f"data set '{job.data.name}' has one class only in its training labels: {classes}")
    known = [item for item in items["validation"] if item["label"] in classes]
    made = {
        split: _labelled(found, classes, tokenizer, length)
        for split, found in (("train", items["train"]), ("validation", known))
    }
    return Examples(made["train"], made["validation"], classes)


def _labelled(
    items: Sequence[Mapping[str, str]], classes: list[str], tokenizer: Any, length: int
) -> list[dict[str, Any]]:
    rows = tokenize(tokenizer, [item["text"] for item in items])
    return [
        {"rows": [truncated(ids, length)], "label": classes.index(item["label"])}
        for ids, item in zip(rows, items, strict=True)
    ]


def _choices(items: Sequence[Mapping[str, Any]], tokenizer: Any, length: int) -> list[dict[str, Any]]:
    joined = [item["prompt"] + option for item in items for option in item["options"]]
    rows = iter(tokenize(tokenizer, joined))
    return [
        {"rows": [truncated(next(rows), length) for _ in item["options"]], "label": int(item["label"])}
        for item in items
    ]


def _evaluator(
    model: Any, held_out: Sequence[Mapping[str, Any]], precision: str, device: str
) -> Callable[[], dict[str, float]]:
    """Mean cross-entropy on the held-out items, nats per item."""
    import torch

    def evaluate() -> dict[str, float]:
        total = 0.0
        for start in range(0, len(held_out), 16):
            batch = collate(held_out[start : start + 16])
            inputs = {name: value.to(device) for name, value in batch.items()}
            with torch.no_grad(), autocast(precision, device):
                total += float(model(**inputs).loss) * len(batch["labels"])
        return {"validation_loss": total / len(held_out) if held_out else math.nan}

    return evaluate
