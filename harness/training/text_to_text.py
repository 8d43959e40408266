"""Fine-tuning an encoder-decoder on text to text: it reads the source, and writes the target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.contract import Checkpoint, Job
from harness.errors import DataError
from harness.models.encoder_decoder import collate, target_log_probabilities
from harness.models.loading import load_tokenizer
from harness.training.change import Change, finished, merged_first, open_or_make, save
from harness.training.examples import tokenize
from harness.training.loop import train
from harness.training.seeding import seed_everything
from harness.training.setup import training_setup

VALIDATION_PAIRS = 64
Pair = tuple[list[int], list[int]]


def learn_pairs(job: Job, change: Change) -> Checkpoint:
    """Train on the pairs of ``text_to_text`` that fit the sequence length on either side."""
    setup = training_setup(job)
    meter = job.meter
    with meter.span("load"):
        tokenizer = load_tokenizer(job.checkpoint)
        start = merged_first(job)
        model = open_or_make(start, tokenizer, job, setup, change=change)
        seed_everything(job.seed)
        model = change.prepare(model, setup)
    with meter.span("data"):
        length = setup.sequence_length
        pairs = _pairs(job.data.view("text_to_text", "train"), tokenizer, length)
        held_out = _pairs(job.data.view("text_to_text", "validation"), tokenizer, length)[:VALIDATION_PAIRS]
    if not pairs:
        raise DataError(f"data set '{job.data.name}' has no pair that fits {length} tokens on either side")

    def batch_of(examples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        return collate([(example["source"], example["target"]) for example in examples], tokenizer.pad_token_id)

    def evaluate() -> dict[str, float]:
        scores = target_log_probabilities(model, held_out, setup.precision)
        nll = -sum(float(values.sum(dtype="float64")) for values in scores)
        return {"validation_loss": nll / sum(len(target) for _, target in held_out)}

    examples = [{"source": source, "target": target} for source, target in pairs]
    train(job, setup, model, tokenizer, examples, evaluate, kind="seq2seq", collator=batch_of)
    save(job, setup, model, lambda: change.save(model, job.part(change.part)))
    return finished(job, start, change)


def _pairs(items: Sequence[Mapping[str, str]], tokenizer: Any, length: int) -> list[Pair]:
    """Ids of source and target, an end-of-text token after each, where both fit ``length``."""
    sources = tokenize(tokenizer, [item["source"] for item in items])
    targets = tokenize(tokenizer, [item["target"] for item in items])
    end = [tokenizer.eos_token_id]
    pairs = [(source + end, target + end) for source, target in zip(sources, targets, strict=True)]
    return [pair for pair in pairs if max(map(len, pair)) <= length]
