"""What a fine-tuning technique changes of a model, and what every fine-tuning stage does around it.

A technique says by a ``Change`` how a loaded model is made ready to train and what is saved of it; what is learnt is
another matter (``answers``, ``text_to_text``, ``heads``), so that each technique can learn each thing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.contract import Checkpoint, Job, TrainingSetup
from harness.errors import BeyondContext, StepError
from harness.models.fresh import fresh_model, with_weights
from harness.models.inspect import describe_model
from harness.models.loading import load_merged, load_model
from harness.training.seeding import seed_everything
from harness.training.sharding import whole_weights

Loss = Callable[[Any, Mapping[str, Any], Any], Any]


@dataclass(frozen=True)
class Change:
    """``prepare`` makes a loaded model ready to train, ``save`` writes the checkpoint's ``part`` of it.

    ``quantization`` gives the configuration in which the base is loaded, ``opened_by`` what a later loader must know.
    ``loss(model, batch, tokens)`` takes the place of the model's own loss (``tokens``: the loss-bearing ones of the
    whole optimiser step), ``finish`` is called when the training is over.
    """

    prepare: Callable[[Any, TrainingSetup], Any]
    save: Callable[[Any, Path], None]
    part: str = "model"
    quantization: Callable[[], Any] | None = None
    opened_by: Mapping[str, Any] | None = None
    loss: Loss | None = None
    finish: Callable[[], None] = lambda: None


def all_weights() -> Change:
    """Every parameter learns, and the whole model is saved."""
    return Change(_all_trainable, save_model)


def save_model(model: Any, folder: Path) -> None:
    """Write the whole model as transformers does."""
    model.save_pretrained(folder)


def merged_first(job: Job) -> Checkpoint:
    """Return the job's checkpoint; adapters that an earlier stage left are merged into a model of this stage's own."""
    given = job.checkpoint
    if "peft" not in given.parts:
        return given
    if job.hardware.ranks > 1:
        raise StepError("adapters of an earlier stage cannot be merged by several processes at once: use one rank")
    load_merged(given, job.precision, job.hardware).save_pretrained(job.part("model"))
    parts = {name: path for name, path in given.parts.items() if name != "peft"}
    return Checkpoint(kind=given.kind, parts=parts).with_parts(model=job.part("model"))


def open_or_make(
    start: Checkpoint, tokenizer: Any, job: Job, setup: TrainingSetup, *, change: Change | None = None,
    headless: bool = False,
) -> Any:  # fmt: skip
    """The model that a stage trains: what ``start`` holds, or of an architecture alone one with fresh weights.

    It is loaded as ``change`` asks; ``headless`` leaves the language-modelling head out. ``BeyondContext`` where
    the sequences to come are longer than its own.
    """
    if start.kind == "blank":
        seed_everything(job.seed)
        model = fresh_model(start, tokenizer, setup.precision, job.hardware, setup.attention, headless=headless)
    else:
        quantization = change.quantization() if change is not None and change.quantization else None
        model = load_model(
            start, setup.precision, job.hardware, quantization=quantization, attention=setup.attention,
            headless=headless,
        )  # fmt: skip
    context = getattr(model.config, "max_position_embeddings", None)
    if context is not None and setup.sequence_length > context:
        raise BeyondContext(setup.sequence_length, context)
    return model


def save(job: Job, setup: TrainingSetup, model: Any, write: Callable[[], None]) -> None:
    """Let the first of the processes that train together ``write`` what it has of the whole ``model``."""
    with job.meter.span("save"), whole_weights(model, setup):
        if job.rank == 0:
            write()


def finished(job: Job, start: Checkpoint, change: Change, kind: str | None = None) -> Checkpoint:
    """The checkpoint of a stage that began with ``start`` and wrote the part of ``change`` into its folder."""
    parts = parts_made(start) | {change.part: job.part(change.part)}
    return with_weights(start).with_parts(kind=kind, opened_by=change.opened_by, **parts)


def parts_made(start: Checkpoint) -> dict[str, Any]:
    """The parts that the stage itself made of what it was given: a model that it had to merge first."""
    return {name: path for name, path in start.parts.items() if name in start.made}


def _all_trainable(model: Any, setup: TrainingSetup) -> Any:
    if quantized := describe_model(model)["quantized_layers"]:
        raise StepError(f"{', '.join(quantized)} weights cannot be trained: put full_finetune before the compression")
    return model.requires_grad_(True)
