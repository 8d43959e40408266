"""The one training loop: the steps asked for, the tokens and losses by hand, and clocks that cover the work alone."""

from __future__ import annotations

import math
import time
from dataclasses import replace

import pytest
import torch

from harness.contract import TrainingSetup
from harness.errors import InvalidMeasurement
from harness.models.loading import load_model, load_tokenizer
from harness.models.scoring import target_log_probabilities
from harness.run.meter import Meter
from harness.training import loop, trainer
from harness.training.examples import encode_pair, instruction_examples

SETUP = TrainingSetup(
    learning_rate=1e-3, schedule="constant", warmup_share=0.0, optimizer="adamw", weight_decay=0.0, max_grad_norm=1.0,
    steps=4, batch_size=4, micro_batch_size=4, sequence_length=64, evaluations=2, precision="fp32",
)  # fmt: skip


@pytest.fixture
def train(make_job, llama, tiny_data):
    """Train the tiny model directly: ``train(setup, evaluate, meter)``."""

    def perform(setup, evaluate=dict, change=None, **job):
        asked = make_job(llama, **job)
        model = load_model(llama, setup.precision, asked.hardware)
        if change is not None:
            change(model)
        tokenizer = load_tokenizer(llama)
        examples = instruction_examples(tiny_data, tokenizer, setup.sequence_length)
        loop.train(asked, setup, model, tokenizer, examples, evaluate)
        return asked.meter

    return perform


def encoded(data, checkpoint):
    """Token ids of prompts and answers (end of text included) of the training items."""
    tokenizer = load_tokenizer(checkpoint)
    return [encode_pair(tokenizer, item["prompt"], item["answer"]) for item in data.view("instructions", "train")]


@pytest.mark.parametrize(("steps", "micro"), [(1, None), (5, None), (3, 1)])
def test_exactly_the_steps_asked_for_are_taken(run, llama, steps, micro):
    ran = run("full_finetune", llama, job={"steps": steps, "micro_batch_size": micro})
    assert ran.meter.metrics["optimizer_steps"] == steps == len(ran.meter.steps) == len(ran.losses)
    assert sorted(ran.meter.losses) == list(range(1, steps + 1))
    assert not ran.meter.step_open


@pytest.mark.parametrize("micro", [8, 2])
def test_tokens_of_a_step_by_hand(run, llama, few_data, micro):
    job = {"steps": 2, "batch_size": 8, "micro_batch_size": micro, "sequence_length": 128, "data": few_data}
    steps = run("full_finetune", llama, job=job).meter.steps
    pairs = encoded(few_data, llama)
    assert len({len(answer) for _, answer in pairs}) > 2, "answers are of unequal length"
    for step in steps:
        assert step["loss_tokens"] == sum(len(answer) for _, answer in pairs)
        assert step["nonpadding_tokens"] == sum(len(prompt) + len(answer) for prompt, answer in pairs)
        longest = max(len(prompt) + len(answer) for prompt, answer in pairs)
        assert step["nonpadding_tokens"] < step["tokens"] <= 8 * longest
    assert micro != 8 or steps[0]["tokens"] == 8 * longest


@pytest.mark.parametrize("technique", ["full_finetune", "lora"])
def test_the_first_loss_by_hand(run, llama, few_data, technique, open_live):
    """Mean over the answers' tokens of the whole batch, not a mean of means."""
    job = {"steps": 1, "batch_size": 8, "sequence_length": 128, "data": few_data}
    pairs = encoded(few_data, llama)
    scores = target_log_probabilities(open_live(llama), [prompt + answer for prompt, answer in pairs], "fp32")
    answers = [score[len(prompt) - 1 :] for score, (prompt, _) in zip(scores, pairs, strict=True)]
    by_hand = -sum(float(score.sum()) for score in answers) / sum(len(score) for score in answers)
    mean_of_means = -sum(float(score.mean()) for score in answers) / len(answers)
    assert abs(by_hand - mean_of_means) > 1e-3, "the data tell the two apart"
    assert run(technique, llama, job=job).losses[0] == pytest.approx(by_hand, abs=1e-4)


@pytest.mark.parametrize("technique", ["full_finetune", "lora", "qlora"])
@pytest.mark.parametrize("micro", [2, 1])
def test_accumulated_micro_batches_equal_one_batch(run, llama, technique, micro):
    """Answers of unequal length: a mean of the micro-batches' means would differ (transformers #34191)."""
    job = {"steps": 3, "batch_size": 8}
    whole = run(technique, llama, job=job)
    parts = run(technique, llama, job={**job, "micro_batch_size": micro})
    assert parts.losses == pytest.approx(whole.losses, abs=1e-4)
    assert [step["loss_tokens"] for step in parts.meter.steps] == [step["loss_tokens"] for step in whole.meter.steps]


def test_accumulated_micro_batches_equal_one_batch_on_gpt2_and_on_text(run, gpt2):
    for technique in ("full_finetune", "clm"):
        job = {"steps": 3, "batch_size": 8}
        whole = run(technique, gpt2, job=job).losses
        assert run(technique, gpt2, job={**job, "micro_batch_size": 2}).losses == pytest.approx(whole, abs=1e-4)


@pytest.mark.parametrize("technique", ["clm", "lora"])
def test_the_seed_fixes_the_losses_to_the_bit(run, pretrained, llama, technique):
    def losses(seed):
        job = {"steps": 3, "seed": seed}
        return (pretrained(job=job) if technique == "clm" else run("lora", llama, dropout=0.1, job=job)).losses

    first, again, other = losses(1), losses(1), losses(2)
    assert first == again
    assert all(a != b for a, b in zip(first, other, strict=True))


def test_a_slow_evaluation_is_not_in_the_steps(train):
    meter = Meter()
    meter.libraries_loaded()
    train(SETUP, lambda: time.sleep(0.15) or {"validation_loss": 1.0}, meter=meter)
    spans = meter.timeline.spans
    assert spans["evaluate"].seconds >= 3 * 0.15
    assert len(meter.steps.seconds) == 4
    assert sum(meter.steps.seconds) <= spans["train"].seconds, "self time, without the evaluation"
    meter.finish()
    assert meter.invalid is None
    assert [point["step"] for point in meter.points] == [0, 2, 4]


@pytest.mark.parametrize(
    ("steps", "evaluations", "expected"),
    [(4, 2, [0, 2, 4]), (4, 0, []), (3, 1, [0, 3]), (5, 2, [0, 2, 5]), (2, 5, [0, 1, 2])],
)
def test_points_of_the_curve_end_with_the_last_step(train, steps, evaluations, expected):
    meter = train(replace(SETUP, steps=steps, evaluations=evaluations), lambda: {"validation_loss": 1.0})
    assert [point["step"] for point in meter.points] == expected
    assert meter.spans.count("evaluate") == len(expected)


def test_evaluation_sees_the_model_without_dropout(run, llama):
    """With dropout on, the first point of the curve would differ from the base model's."""
    first = [
        run("lora", llama, dropout=dropout, job={"steps": 1, "evaluations": 1}).meter.points[0]["validation_loss"]
        for dropout in (0.0, 0.9)
    ]
    assert first[0] == first[1]


def test_training_goes_on_in_training_mode_after_an_evaluation(run, llama):
    with_points = run("lora", llama, dropout=0.5, job={"steps": 4, "evaluations": 4}).losses
    assert with_points == run("lora", llama, dropout=0.5, job={"steps": 4}).losses


def test_a_loss_that_is_not_a_number_makes_the_step_invalid(train):
    meter = Meter()
    with pytest.raises(InvalidMeasurement, match=r"training loss of step \d is nan"):
        train(replace(SETUP, learning_rate=1e30, max_grad_norm=0.0, evaluations=0), meter=meter)
    assert meter.invalid


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_parameter_that_no_gradient_reaches_makes_the_step_invalid(train, optimizer):
    def add_unused(model):
        import torch

        model.unused = torch.nn.Parameter(torch.ones(3))

    with pytest.raises(InvalidMeasurement, match="no gradient ever reached 1 trainable parameters, unused"):
        train(replace(SETUP, optimizer=optimizer), change=add_unused)


@pytest.fixture
def rates(monkeypatch):
    """Learning rates of every group at every optimiser step."""
    seen = []
    build = trainer.build_optimizer

    def building(*args):
        optimizer = build(*args)
        for inner in getattr(optimizer, "inner", [optimizer]):
            inner.register_step_pre_hook(lambda one, *_: seen.append([group["lr"] for group in one.param_groups]))
        return optimizer

    monkeypatch.setattr(trainer, "build_optimizer", building)
    return seen


def falling(schedule, step, warmup, steps):
    if step < warmup:
        return step / warmup
    done = (step - warmup) / (steps - warmup)
    return {"constant": 1.0, "linear": 1 - done, "cosine": (1 + math.cos(math.pi * done)) / 2}[schedule]


@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine"])
def test_the_learning_rate_follows_its_schedule(train, rates, schedule):
    train(replace(SETUP, schedule=schedule, warmup_share=0.25, steps=8, evaluations=0))
    expected = [1e-3 * falling(schedule, step, 2, 8) for step in range(8)]
    assert [one[0] for one in rates] == pytest.approx(expected)


def test_both_parts_of_muon_follow_the_schedule(train, rates):
    """accelerate reloads every optimiser's state, which replaces the groups that a scheduler holds."""
    train(replace(SETUP, optimizer="muon", schedule="cosine", warmup_share=0.5, evaluations=0))
    expected = [1e-3 * falling("cosine", step, 2, 4) for step in range(4)]
    assert [one[0] for one in rates[0::2]] == [one[0] for one in rates[1::2]] == pytest.approx(expected)


def test_clipping_arrives(run, llama):
    """AdamW cannot tell small gradients from smaller ones until they meet its epsilon."""
    free, clipped = (
        run("full_finetune", llama, max_grad_norm=norm, schedule="constant", warmup_share=0.0, job={"steps": 3}).losses
        for norm in (0.0, 1e-12)
    )
    assert free[0] == clipped[0]
    assert free[2] < clipped[2] - 1e-3


def test_weight_decay_arrives(train, monkeypatch):
    built = []
    build = trainer.build_optimizer
    monkeypatch.setattr(trainer, "build_optimizer", lambda *args: built.append(build(*args)) or built[-1])
    train(replace(SETUP, steps=1, evaluations=0, weight_decay=0.25))
    assert [group["weight_decay"] for group in built[0].param_groups] == [0.25]


def test_what_is_really_trained_is_observed(run, llama):
    observed = run("lora", llama, rank=2, job={"steps": 1}).meter.observed
    assert observed["setup"]["steps"] == 1 and observed["setup"]["optimizer"] == "adamw"
    assert observed["model"]["layer_classes"]["Linear"] > 14
    assert len(observed["trainable"]) == 8


@pytest.mark.parametrize("technique", ["full_finetune", "lora", "qlora", "prefix_tuning", "bottleneck_adapter"])
def test_looking_does_not_change_what_is_learnt(run, llama, technique):
    """Evaluations in between must leave no trace: bitsandbytes' 4-bit layers lost their gradient after one."""
    job = {"steps": 6, "batch_size": 8}
    unseen = run(technique, llama, job=job).losses
    seen = run(technique, llama, job={**job, "evaluations": 3}).losses
    assert seen == pytest.approx(unseen, rel=1e-6)


def test_a_product_without_a_gradient_ends_the_training(train):
    """torch only warns of one, and goes on with a wrong gradient."""
    library = torch.library.Library("harness_test", "DEF")
    library.define("double(Tensor x) -> Tensor")
    library.impl("double", lambda x: 2 * x, "CPU")

    def through_it(model):
        forward = model.lm_head.forward
        model.lm_head.forward = lambda x: forward(torch.ops.harness_test.double(x))

    with pytest.raises(Exception, match="autograd kernel was not registered"):
        train(replace(SETUP, evaluations=0), change=through_it)
    library._destroy()
