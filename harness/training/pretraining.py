"""Pre-training: a model from an architecture's fresh weights, or further from given ones, on a text's packed blocks.

``pretrain`` is the same for every objective: load, make examples, train, save, each in its own span. An ``Objective``
says what is learnt from the blocks; ``causal_objective`` here, the others in ``masking`` and ``denoising``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from harness.contract import Checkpoint, Job, TrainingSetup
from harness.models.fresh import with_weights
from harness.models.loading import load_tokenizer
from harness.models.scoring import entries, token_bytes
from harness.training.change import Change, merged_first, open_or_make, save, save_model
from harness.training.examples import packed_text, text_to_score
from harness.training.loop import Evaluate, train
from harness.training.seeding import seed_everything
from harness.training.setup import training_setup
from harness.training.trainer import Collator
from harness.training.validation import mean_loss

VALIDATION_WINDOWS = 24


@dataclass(frozen=True)
class Objective:
    """What is learnt: examples of the training text, how they become batches, and the validation of a live model.

    ``kind`` is that of the checkpoint that is made. ``bytes_per_token`` are UTF-8 bytes of training text over the
    tokens of a budget, which are examples times the sequence length. ``own_tokenizer`` says that tokens were added to
    the tokenizer, so that the stage saves its own.
    """

    kind: str
    examples: list[dict[str, list[int]]]
    bytes_per_token: float
    evaluator: Callable[[Any, str], Evaluate]
    collator: Collator | None = None
    own_tokenizer: bool = False


def pretrain(job: Job, objective_of: Callable[[Job, Any], Objective], change: Change | None = None) -> Checkpoint:
    """Train by the objective that ``objective_of(job, tokenizer)`` makes; it may add tokens to the tokenizer.

    ``change`` may make another model of the one that is given, to be trained in its place.
    """
    meter, length = job.meter, job.budget.sequence_length
    change = change or Change(lambda model, setup: model, save_model)
    with meter.span("load"):
        tokenizer = load_tokenizer(job.checkpoint)
    with meter.span("data"):
        objective = objective_of(job, tokenizer)
    setup = training_setup(job, objective.bytes_per_token)
    with meter.span("load"):
        start = merged_first(job)
        model = change.prepare(_model_of_size(start, job, tokenizer, setup, objective.kind), setup)
    evaluate = objective.evaluator(model, setup.precision)
    train(
        job, setup, model, tokenizer, objective.examples, evaluate, kind=objective.kind, collator=objective.collator,
        loss=change.loss,
    )  # fmt: skip
    change.finish()
    meter.metric("train_bytes", setup.steps * setup.batch_size * length * objective.bytes_per_token)
    made: dict[str, Any] = {"model": job.part("model")}
    if objective.own_tokenizer:
        made["tokenizer"] = job.part("tokenizer")

    def write() -> None:
        change.save(model, made["model"])
        if objective.own_tokenizer:
            tokenizer.save_pretrained(made["tokenizer"])

    save(job, setup, model, write)
    return with_weights(start).with_parts(kind=objective.kind, **made)


def causal_objective(job: Job, tokenizer: Any, *, loss_across_documents: bool = False) -> Objective:
    """Next-token prediction; validated on windows of held-out text."""
    length = job.budget.sequence_length
    text = packed_text(job.data, tokenizer, length, loss_across_documents=loss_across_documents)
    lengths = token_bytes(tokenizer)
    held_out = text_to_score(job.data, "validation", tokenizer, lengths, length, VALIDATION_WINDOWS, None)

    def evaluator(model: Any, precision: str) -> Evaluate:
        return lambda: mean_loss(model, held_out, precision)

    return Objective("causal", text.examples, text.bytes_per_token, evaluator)


def _model_of_size(start: Checkpoint, job: Job, tokenizer: Any, setup: TrainingSetup, kind: str) -> Any:
    """The model that is given, or a fresh one; a given one grows where the objective added tokens."""
    model = open_or_make(start, tokenizer, job, setup)
    if kind != "causal" and len(tokenizer) > entries(model):
        seed_everything(job.seed)
        model.resize_token_embeddings(len(tokenizer))
    return model
