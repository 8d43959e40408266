"""``gradient_accumulation``: the large batch in parts, also where the parts carry unequally many tokens."""

from __future__ import annotations

import random

import pytest

from harness.adapters.efficiency.gradient_accumulation import GradientAccumulation
from harness.contract import Budget, TrainingParams
from harness.errors import UsageError
from harness.training.setup import plain_setup

PARTS = pytest.mark.parametrize("parts", [2, 4, 8])


def both(run, technique, start, parts, **params):
    job = {"steps": 4, "batch_size": 8, "evaluations": 1}
    whole = run(technique, start, job=job, **params)
    accumulated = run(technique, start, job={**job, "modifiers": [f"gradient_accumulation(steps={parts})"]}, **params)
    return whole, accumulated


@PARTS
@pytest.mark.parametrize("technique", ["full_finetune", "lora"])
def test_the_losses_are_those_of_the_large_batch_with_answers_of_unequal_length(run, llama, technique, parts):
    """Answers have 1 to 5 lines, so a mean of the micro-batches' means is another number (transformers #34191)."""
    whole, accumulated = both(run, technique, llama, parts)
    assert accumulated.losses == pytest.approx(whole.losses, rel=2e-5)
    assert accumulated.meter.points[-1]["validation_loss"] == pytest.approx(
        whole.meter.points[-1]["validation_loss"], rel=1e-4
    )
    assert accumulated.meter.observed["setup"]["micro_batch_size"] == 8 // parts


@pytest.mark.parametrize(("model", "technique"), [("bert", "mlm"), ("t5", "seq2seq")])
def test_so_are_those_of_the_other_objectives(run, model, technique, request):
    whole, accumulated = both(run, technique, request.getfixturevalue(model), 4)
    assert accumulated.losses == pytest.approx(whole.losses, rel=1e-3)


class Unequal:
    """Targets of one word and of twenty by turns, so that parts of a batch weigh differently."""

    name = fingerprint = "unequal"

    def views(self):
        return ("text_to_text",)

    def view(self, name, split):
        chance = random.Random(split)
        return [
            {"source": f"def add_{place}(a):", "target": "return a " * chance.choice((1, 20))} for place in range(64)
        ]


@pytest.mark.parametrize("parts", [2, 8])
@pytest.mark.parametrize(
    ("model", "technique"), [("t5", "full_finetune"), ("bart", "lora"), ("llama", "full_finetune")]
)
def test_so_are_those_of_targets_of_unequal_length(run, model, technique, parts, request):
    job = {"steps": 4, "batch_size": 8, "sequence_length": 96, "evaluations": 0, "data": Unequal()}
    start = request.getfixturevalue(model)
    whole, accumulated = (
        run(technique, start, view="text_to_text", job=job | more)
        for more in ({}, {"modifiers": [f"gradient_accumulation(steps={parts})"]})
    )
    assert accumulated.losses == pytest.approx(whole.losses, rel=2e-5)


def test_loss_bearing_tokens_of_a_step_are_those_of_the_large_batch(run, llama):
    whole, accumulated = both(run, "full_finetune", llama, 4)
    for one, other in zip(whole.meter.steps, accumulated.meter.steps, strict=True):
        assert one["loss_tokens"] == other["loss_tokens"] and one["nonpadding_tokens"] == other["nonpadding_tokens"]
        assert other["tokens"] <= one["tokens"], "parts are padded to their own longest example"


def test_a_batch_that_does_not_divide_is_refused():
    setup = plain_setup(TrainingParams(), Budget(steps=1, batch_size=8), "fp32", 1)
    with pytest.raises(UsageError, match="3 steps do not divide a batch of 8 sequences"):
        GradientAccumulation(GradientAccumulation.Params(steps=3)).modify(setup)
    twice = GradientAccumulation(GradientAccumulation.Params(steps=2))
    assert twice.modify(twice.modify(setup)).micro_batch_size == 2
