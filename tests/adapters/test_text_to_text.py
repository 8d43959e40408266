"""``full_finetune(view=text_to_text)``: an encoder-decoder reads the source apart, a causal model reads it in front."""

from __future__ import annotations

import random

import pytest
import torch

from harness.contract import Checkpoint
from harness.errors import DataError
from harness.models.loading import load_tokenizer
from harness.tasks.text_generation import TextGeneration


class Translated:
    """Sources of which the target says the verb and the number."""

    name = "translated"
    fingerprint = "translated"

    def views(self):
        return ("text_to_text",)

    def view(self, name, split):
        chance = random.Random(split)
        verbs = ("add", "scale", "raise")
        made = [(chance.choice(verbs), chance.randrange(10)) for _ in range(96 if split == "train" else 24)]
        return [{"source": f"def {verb}_{number}(a):", "target": f"{number} {verb}"} for verb, number in made]


@pytest.fixture(scope="module")
def tuned(run):
    def make(start, steps=40, **params):
        job = {"data": Translated(), "steps": steps, "batch_size": 16, "evaluations": 2, "sequence_length": 48}
        return run("full_finetune", start, job=job, view="text_to_text", **params)

    return make


@pytest.mark.parametrize("name", ["llama", "t5", "bart"])
def test_it_learns_and_the_generated_texts_follow(name, request, tuned, make_job, as_input):
    start = request.getfixturevalue(name)
    ran = tuned(start, learning_rate=3e-3)
    assert sum(ran.losses[-5:]) < 0.7 * sum(ran.losses[:5])
    losses = [point["validation_loss"] for point in ran.meter.points]
    assert losses[0] > losses[1] > losses[2]
    assert ran.checkpoint.kind == start.kind
    before, after = (_chrf(ran, as_input(made), make_job) for made in (start, ran.checkpoint))
    assert after > before + 5


def _chrf(ran, checkpoint, make_job):
    job = make_job(checkpoint, data=Translated())
    TextGeneration(TextGeneration.Params(items=24, new_tokens=8)).score(ran.adapter.eval(job), job)
    return job.meter.metrics["chrf"]


def test_the_loss_of_an_encoder_decoder_by_hand(tuned, t5, open_live):
    """Mean over the target's tokens, its end included, of transformers' own loss on one pair at a time."""
    ran = tuned(t5, steps=1, learning_rate=0.0)
    model, tokenizer, total, count = open_live(t5), load_tokenizer(t5), 0.0, 0
    for item in Translated().view("text_to_text", "validation"):
        source, target = (
            torch.tensor([tokenizer(item[side], add_special_tokens=False)["input_ids"] + [tokenizer.eos_token_id]])
            for side in ("source", "target")
        )
        with torch.no_grad():
            total += float(model(input_ids=source, labels=target).loss) * target.numel()
        count += target.numel()
    assert ran.meter.points[0]["validation_loss"] == pytest.approx(total / count, rel=1e-5)


def test_a_causal_model_has_no_loss_on_the_source(tuned, llama):
    ran = tuned(llama, steps=2)
    tokenizer = load_tokenizer(llama)
    answers = sum(
        len(tokenizer(item["target"], add_special_tokens=False)["input_ids"]) + 1
        for item in Translated().view("text_to_text", "train")
    )
    counted = sum(step["loss_tokens"] for step in ran.meter.steps) / (2 * 16)
    assert counted == pytest.approx(answers / 96, rel=0.1)


@pytest.mark.parametrize(("name", "kind"), [("llama", "causal"), ("t5", "seq2seq")])
def test_on_an_architecture_it_trains_from_nothing(name, kind, tuned, architecture, tokenizer_run):
    blank = architecture(name)
    ran = tuned(Checkpoint("blank", {**blank.parts, **tokenizer_run.checkpoint.parts}), steps=20, learning_rate=3e-3)
    assert ran.checkpoint.kind == kind and set(ran.checkpoint.parts) == {"tokenizer", "model"}
    assert sum(ran.losses[-5:]) < 0.9 * sum(ran.losses[:5])


def test_pairs_that_never_fit_are_one_clear_line(run, t5):
    job = {"data": Translated(), "steps": 1, "sequence_length": 2}
    with pytest.raises(DataError, match="'translated' has no pair that fits 2 tokens on either side"):
        run("full_finetune", t5, job=job, view="text_to_text")
