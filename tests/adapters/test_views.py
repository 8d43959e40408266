"""Every fine-tuning technique on every view of every kind of model where it is defined, and nothing else."""

from __future__ import annotations

import itertools

import pytest
from fakes.words import Words

from harness.catalogue import adapter_class
from harness.contract import Checkpoint
from harness.parameters import build_params
from harness.tasks.choice import Choice
from harness.tasks.classification import Classification
from harness.tasks.text_generation import TextGeneration
from harness.training.finetuning import KINDS_OF_VIEW

TECHNIQUES = {
    "full_finetune": {"learning_rate": 2e-3},
    "lora": {"learning_rate": 2e-2},
    "qlora": {"learning_rate": 2e-2},
    "prefix_tuning": {"learning_rate": 5e-2, "prefix_length": 4},
    "bottleneck_adapter": {"learning_rate": 1e-2, "size": 8},
}
MODELS = {"llama": "causal", "gpt2": "causal", "bert": "masked", "t5": "seq2seq", "bart": "seq2seq"}
TASKS = {
    "labels": (Classification, "classification_accuracy"), "choices": (Choice, "choice_accuracy"),
    "text_to_text": (TextGeneration, "chrf"),
}  # fmt: skip
# A prefix goes to decoders alone; a quantised base is tried on one architecture of each kind.
LEFT_OUT = {("prefix_tuning", "t5", "labels"), ("prefix_tuning", "bart", "labels"), ("prefix_tuning", "t5", "choices"),
            ("prefix_tuning", "bart", "choices")}  # fmt: skip
EVERY = [
    (technique, model, view)
    for technique, model, view in itertools.product(TECHNIQUES, MODELS, KINDS_OF_VIEW)
    if MODELS[model] in KINDS_OF_VIEW[view] and (technique, model, view) not in LEFT_OUT
    and not (technique == "qlora" and model in ("gpt2", "bart"))
]  # fmt: skip


def asked(technique, view):
    kind = adapter_class(technique)
    return kind(build_params(kind.Params, {"view": view}, owner=technique))


@pytest.mark.parametrize(
    ("technique", "model", "view"),
    # The second decoder and the second encoder-decoder are for `make test-all`.
    [pytest.param(*one, marks=pytest.mark.slow) if one[1] in ("gpt2", "bart") else one for one in EVERY],
)
def test_it_learns_and_opens_as_it_was_left(technique, model, view, request, run, make_job, as_input, folder_hash):
    start = request.getfixturevalue(model)
    before = folder_hash(start.parts["model"])
    steps = 30 if view in ("labels", "choices") else 15
    job = {"data": Words(), "steps": steps, "batch_size": 8, "evaluations": 1, "sequence_length": 48}
    params = dict(TECHNIQUES[technique])
    if view in ("labels", "choices"):
        params["learning_rate"] /= 5  # a fresh head learns at the same rate as what is below it
    ran = run(technique, start, job=job, view=view, **params)
    assert folder_hash(start.parts["model"]) == before
    first, last = (point["validation_loss"] for point in ran.meter.points)
    assert last < first
    names = ran.meter.observed["trainable"]
    if technique != "full_finetune":
        added = ("lora_", "prompt_encoder", "bottleneck_", "modules_to_save", "head.")
        assert names and all(any(part in name for part in added) for name in names)
    assert any(name.startswith("head.") for name in names) == (view in ("labels", "choices"))
    scorer = ran.adapter.eval(make_job(as_input(ran.checkpoint), data=Words()))
    if view in TASKS:
        kind, metric = TASKS[view]
        scored = make_job(Checkpoint("none", {}), data=Words())
        kind(build_params(kind.Params, {"items": 24, "split": "validation"}, owner=view)).score(scorer, scored)
        assert 0 <= scored.meter.metrics[metric] <= 100
    if view == "labels":
        texts = [item["text"] for item in Words().view("labels", "validation")]
        classes = scorer.facts["classes"]
        labels = [classes.index(item["label"]) for item in Words().view("labels", "validation")]
        scores = scorer.class_log_probabilities(texts)
        nll = -sum(float(values[label]) for values, label in zip(scores, labels, strict=True)) / len(texts)
        assert nll == pytest.approx(last, rel=2e-3), "what training saw at its end is what is opened"


@pytest.mark.parametrize("view", KINDS_OF_VIEW)
@pytest.mark.parametrize("technique", TECHNIQUES)
def test_the_plan_knows_where_it_is_defined(technique, view):
    adapter = asked(technique, view)
    blank = {"blank"} if technique == "full_finetune" else set()
    left_out = {"seq2seq"} if technique == "prefix_tuning" and view in ("labels", "choices") else set()
    assert adapter.kinds == (KINDS_OF_VIEW[view] | blank) - left_out
    assert adapter.makes_kind == {"labels": "classifier", "choices": "multiple_choice"}.get(view)


def test_a_probe_reads_the_adapters_of_the_stage_before(run, llama, as_input):
    """Merged first: a probe of the base alone would pass under the name of ``lora > linear_probe``."""
    job = {"data": Words(), "steps": 10, "batch_size": 8, "sequence_length": 48}
    adapted = as_input(run("lora", llama, job={**job, "steps": 20}, view="instructions", learning_rate=0.05).checkpoint)
    losses = {name: run("linear_probe", start, job=job).losses for name, start in (("base", llama), ("lora", adapted))}
    assert losses["base"] != losses["lora"]
