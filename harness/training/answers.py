"""Fine-tuning a causal model on answers to prompts: it reads both as one text, and the loss is on the answer."""

from __future__ import annotations

from harness.contract import Checkpoint, Job
from harness.models.chat import tell_rendering
from harness.models.loading import load_tokenizer
from harness.models.scoring import token_bytes
from harness.training.change import Change, finished, merged_first, open_or_make, save
from harness.training.examples import answers_to_score, instruction_examples, prompts_and_answers
from harness.training.loop import train
from harness.training.seeding import seed_everything
from harness.training.setup import training_setup
from harness.training.validation import mean_loss

VALIDATION_ANSWERS = 64


def learn_answers(job: Job, change: Change, view: str) -> Checkpoint:
    """Train on ``instructions``, or on ``text_to_text`` as prompt and answer."""
    setup = training_setup(job)
    meter = job.meter
    with meter.span("load"):
        tokenizer = load_tokenizer(job.checkpoint)
        start = merged_first(job)
        model = open_or_make(start, tokenizer, job, setup, change=change)
        seed_everything(job.seed)
        model = change.prepare(model, setup)
    with meter.span("data"):
        examples = instruction_examples(job.data, tokenizer, setup.sequence_length, view)
        items = prompts_and_answers(job.data, view, "validation")
        tell_rendering(meter, items, tokenizer)
        held_out = answers_to_score(
            items, tokenizer, token_bytes(tokenizer), setup.sequence_length, VALIDATION_ANSWERS
        )
    train(
        job, setup, model, tokenizer, examples, lambda: mean_loss(model, held_out, setup.precision), loss=change.loss
    )  # fmt: skip
    change.finish()
    save(job, setup, model, lambda: change.save(model, job.part(change.part)))
    return finished(job, start, change)
