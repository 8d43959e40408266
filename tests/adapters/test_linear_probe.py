"""``linear_probe``, ``full_finetune`` with a head, and the tasks that score them: what learns, and what it learns."""

from __future__ import annotations

import random

import pytest
import torch

from harness.catalogue import adapter_class
from harness.contract import Checkpoint, Hardware
from harness.errors import DataError, ModelError
from harness.models.pooled import open_pooled, read_facts
from harness.tasks.choice import Choice
from harness.tasks.classification import Classification, macro_f1


class Labelled:
    """Texts whose class is told by one word, and choices whose right option repeats the prompt's."""

    name = "labelled"
    fingerprint = "labelled"

    def views(self):
        return ("labels", "choices")

    def view(self, name, split):
        chance = random.Random(f"{name}{split}")
        words = {"sum": "add", "product": "scale", "power": "raise"}
        if name == "labels":
            return [self._text(chance, words) for _ in range(160 if split == "train" else 60)]
        return [self._item(chance, list(words.values())) for _ in range(120 if split == "train" else 40)]

    def _text(self, chance, words):
        label = chance.choice(sorted(words))
        return {"text": f"def {words[label]}_{chance.randrange(10)}(a): return a", "label": label}

    def _item(self, chance, words):
        label = chance.randrange(2)
        options = [f"    return a # {word}\n" for word in chance.sample(words, 2)]
        return {"prompt": "def raise_(a):\n", "options": sorted(options, key=lambda o: "raise" in o) if label
                else sorted(options, key=lambda o: "raise" not in o), "label": label}  # fmt: skip


@pytest.fixture(scope="module")
def labelled():
    return Labelled()


@pytest.fixture(scope="module")
def trained(run, llama, labelled):
    """``trained("linear_probe", view="labels", steps=...)`` on the tiny Llama."""

    def make(name, view, steps=30, start=llama, **params):
        job = {"data": labelled, "steps": steps, "batch_size": 16, "evaluations": 1, "sequence_length": 48}
        return run(name, start, job=job, view=view, **params)

    return make


@pytest.fixture(scope="module")
def probe(trained):
    return trained("linear_probe", "labels")


def weights(checkpoint):
    return {name: value.clone() for name, value in open_pooled(checkpoint, "fp32", Hardware()).state_dict().items()}


def test_a_probe_learns_and_the_model_below_stays_to_the_bit(probe, llama, open_live):
    assert probe.checkpoint.kind == "classifier"
    assert sum(probe.losses[-5:]) < 0.8 * sum(probe.losses[:5])
    made, before = weights(probe.checkpoint), open_live(llama).model.state_dict()
    assert probe.meter.observed["trainable"] == ["head.weight", "head.bias"]
    assert probe.meter.metrics["trainable_parameters"] == 64 * 3 + 3
    assert all(torch.equal(made[f"backbone.{name}"], value) for name, value in before.items())


def test_full_fine_tuning_moves_the_model_too(trained, llama, open_live, probe):
    ran = trained("full_finetune", "labels", learning_rate=3e-3)
    made, before = weights(ran.checkpoint), open_live(llama).model.state_dict()
    moved = [name for name, value in before.items() if not torch.equal(made[f"backbone.{name}"], value)]
    assert len(moved) == len(before)
    assert ran.losses[-1] < probe.losses[-1], "all weights fit these labels better than the layer alone"


def test_classes_and_length_are_remembered(probe):
    facts = read_facts(probe.checkpoint.parts["model"])
    assert facts == {"view": "labels", "classes": ["power", "product", "sum"], "length": 48}


def test_classification_counts_what_the_head_says(probe, labelled, make_job, as_input):
    scorer = probe.adapter.eval(make_job(as_input(probe.checkpoint), data=labelled))
    job = make_job(Checkpoint("classifier", {}), data=labelled)
    Classification(Classification.Params()).score(scorer, job)
    items = labelled.view("labels", "test")
    model, tokenizer = scorer.model, scorer.tokenizer
    right = 0
    for item in items:  # one by one, without padding, by hand
        ids = torch.tensor([tokenizer(item["text"], add_special_tokens=False)["input_ids"][:48]])
        with torch.no_grad():
            states = model.backbone(input_ids=ids).last_hidden_state.mean(1)
            answer = (states @ model.head.weight.T + model.head.bias).argmax()
        right += scorer.facts["classes"][int(answer)] == item["label"]
    assert job.meter.metrics["classification_accuracy"] == right / len(items)
    assert job.meter.metrics["classification_accuracy"] > job.meter.metrics["majority_share"]
    assert sum(job.meter.scored["classification"]["correct"]) == right


def test_choices_by_a_head(trained, labelled, make_job, as_input):
    ran = trained("full_finetune", "choices", steps=40, learning_rate=3e-3)
    assert ran.checkpoint.kind == "multiple_choice"
    job = make_job(Checkpoint("multiple_choice", {}), data=labelled)
    Choice(Choice.Params()).score(ran.adapter.eval(make_job(as_input(ran.checkpoint), data=labelled)), job)
    assert job.meter.metrics["choice_accuracy"] > 0.8, "the right option always says raise"
    assert job.meter.observed["items"] == {"scored": 40, "left_out": 0, "options": 2}


def test_on_an_architecture_the_weights_below_are_fresh(run, architecture, tokenizer_run, labelled, as_input):
    blank = architecture("bert")
    given = Checkpoint("blank", {**blank.parts, **tokenizer_run.checkpoint.parts})
    job = {"data": labelled, "steps": 2, "sequence_length": 48}
    probe, again, other = (run("linear_probe", given, job={**job, "seed": seed}) for seed in (0, 0, 1))
    assert probe.checkpoint.kind == "classifier" and set(probe.checkpoint.parts) == {"tokenizer", "model"}
    made = [weights(ran.checkpoint)["backbone.embeddings.word_embeddings.weight"] for ran in (probe, again, other)]
    assert torch.equal(made[0], made[1]) and not torch.equal(made[0], made[2])
    trained = run("full_finetune", given, job={**job, "steps": 20, "batch_size": 16}, view="labels", learning_rate=3e-3)
    assert sum(trained.losses[-3:]) < sum(trained.losses[:3])
    assert not torch.equal(weights(trained.checkpoint)["backbone.embeddings.word_embeddings.weight"], made[0])


def test_macro_f1_by_hand():
    """a: 2 hits of 3, answered twice; b: 1 hit of 1, answered twice: (4/5 + 2/3) / 2."""
    assert macro_f1(["a", "a", "a", "b"], ["a", "a", "b", "b"]) == pytest.approx((4 / 5 + 2 / 3) / 2)


def test_one_class_is_one_clear_line(trained, run, llama):
    class OneClass(Labelled):
        def view(self, name, split):
            return [{"text": "def f(): pass", "label": "x"}] * 20

    with pytest.raises(DataError, match="'labelled' has one class only in its training labels"):
        run("linear_probe", llama, job={"data": OneClass(), "steps": 2})


def test_a_model_without_a_head_is_one_clear_line(llama, make_job):
    kind = adapter_class("linear_probe")
    with pytest.raises(ModelError, match="has no classification head: train one first"):
        kind(kind.Params()).eval(make_job(llama))
