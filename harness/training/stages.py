"""What fine-tuning stages have in common: load, make examples, train, save, each in its own span.

``finetune`` changes a given model by instructions. An adapter says what is peculiar to its technique by the functions
that it passes in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from harness.contract import Checkpoint, Job, TrainingSetup
from harness.models.fresh import fresh_model, with_weights
from harness.models.loading import load_merged, load_model, load_tokenizer
from harness.models.scoring import target_log_probabilities, token_bytes
from harness.training.examples import Scored, answers_to_score, instruction_examples, prompts_and_answers
from harness.training.loop import train
from harness.training.seeding import seed_everything
from harness.training.setup import training_setup

VALIDATION_ANSWERS = 64


def finetune(
    job: Job,
    prepare: Callable[[Any, TrainingSetup], Any],
    save: Callable[[Any, Path], None],
    *,
    part: str,
    view: str = "instructions",
    quantization: Callable[[], Any] | None = None,
    opened_by: dict[str, Any] | None = None,
) -> Checkpoint:
    """Train a causal model on instructions, or on text to text, with a loss on the answers.

    ``prepare`` makes the loaded model ready to train, ``save`` writes the checkpoint's ``part``; ``quantization`` gives
    the configuration in which the base is loaded, ``opened_by`` what a later loader must know of it.
    """
    setup = training_setup(job)
    meter = job.meter
    with meter.span("load"):
        tokenizer = load_tokenizer(job.checkpoint)
        start = _merged_first(job)
        model = open_or_make(start, tokenizer, job, setup, quantization() if quantization else None)
        seed_everything(job.seed)
        model = prepare(model, setup)
    with meter.span("data"):
        examples = instruction_examples(job.data, tokenizer, setup.sequence_length, view)
        held_out = answers_to_score(
            prompts_and_answers(job.data, view, "validation"), tokenizer, token_bytes(tokenizer),
            setup.sequence_length, VALIDATION_ANSWERS,
        )  # fmt: skip
    train(job, setup, model, tokenizer, examples, _evaluator(model, held_out, setup.precision))
    with meter.span("save"):
        save(model, job.part(part))
    made = {name: path for name, path in start.parts.items() if name in start.made}
    parts: dict[str, Any] = {**made, part: job.part(part)}
    return with_weights(start).with_parts(opened_by=opened_by, **parts)


def open_or_make(
    start: Checkpoint, tokenizer: Any, job: Job, setup: TrainingSetup, quantization: Any = None
) -> Any:
    """The model that a stage trains: what ``start`` holds, or of an architecture alone one with fresh weights."""
    if start.kind == "blank":
        seed_everything(job.seed)
        return fresh_model(start, tokenizer, job.precision, job.hardware, setup.attention)
    return load_model(start, job.precision, job.hardware, quantization=quantization, attention=setup.attention)


def _merged_first(job: Job) -> Checkpoint:
    """Return the job's checkpoint; adapters that an earlier stage left are merged into a model of this stage's own."""
    given = job.checkpoint
    if "peft" not in given.parts:
        return given
    load_merged(given, job.precision, job.hardware).save_pretrained(job.part("model"))
    parts = {name: path for name, path in given.parts.items() if name != "peft"}
    return Checkpoint(kind=given.kind, parts=parts).with_parts(model=job.part("model"))


def mean_loss(model: Any, held_out: Sequence[Scored], precision: str) -> dict[str, float]:
    """Validation loss (nats per counted token) and bits per byte of the counted tokens."""
    nll, tokens, size = 0.0, 0, 0
    scores = target_log_probabilities(model, [item.ids for item in held_out], precision)
    for item, log_probs in zip(held_out, scores, strict=True):
        nll -= float(log_probs[item.counted].sum(dtype="float64"))
        tokens += sum(item.counted)
        size += item.bytes
    return {"validation_loss": nll / tokens, "validation_bits_per_byte": nll / math.log(2) / size}


def _evaluator(model: Any, held_out: Sequence[Scored], precision: str) -> Callable[[], dict[str, float]]:
    return lambda: mean_loss(model, held_out, precision)
