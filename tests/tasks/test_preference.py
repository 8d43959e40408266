"""``preference`` and ``judged_generation``: rewards, calibration, KL and diversity, beside computations by hand."""

from __future__ import annotations

import math

import numpy
import pytest
import torch

from harness.errors import StepError
from harness.models.sampling import sample
from harness.tasks.judged_generation import JudgedGeneration, distinct, tempered
from harness.tasks.preference import Preference, calibration_error
from harness.training.preferences import answer_log_probabilities, preference_pairs

SHORT = {"length": 64}
SAMPLED = {"length": 64, "new_tokens": 12, "items": 8}
FEW = {"steps": 6, "batch_size": 4, "sequence_length": 64}


@pytest.fixture(scope="module")
def made(run, llama, as_input):
    """Checkpoints by what made them."""
    found = {"base": llama}
    found["reward_model"] = as_input(run("reward_model", llama, job=FEW).checkpoint)
    found["judge"] = as_input(run("reward_model", llama, job=FEW, half="second").checkpoint)
    found["dpo"] = as_input(run("dpo", llama, job=FEW, learning_rate=1e-3).checkpoint)
    found["ppo"] = as_input(run("ppo", found["reward_model"], job=FEW, response_length=6, epochs=2).checkpoint)
    return found


@pytest.fixture
def scored(score, made, open_it):
    def perform(task, name, params, **job):
        return score(task, open_it(made[name]), checkpoint=made[name], params=params, **job)

    return perform


def test_the_reward_is_that_of_what_the_checkpoint_has(scored):
    by = {name: scored(Preference, name, SHORT) for name in ("base", "dpo", "reward_model", "ppo")}
    told = {name: meter.observed["preference"]["by"] for name, meter in by.items()}
    assert told == {
        "base": "log-probability", "dpo": "implied reward", "reward_model": "reward model", "ppo": "reward model",
    }  # fmt: skip
    assert by["ppo"].metrics["preference_accuracy"] == by["reward_model"].metrics["preference_accuracy"]
    assert "implied_preference_accuracy" in by["ppo"].metrics and "preference_calibration_error" in by["ppo"].metrics
    items = by["dpo"].scored["preference"]
    assert by["dpo"].metrics["preference_accuracy"] == pytest.approx(numpy.mean(items["correct"]))
    assert by["dpo"].metrics["preference_margin"] == pytest.approx(numpy.mean(items["margin"]))


def test_an_implied_reward_is_the_gain_over_the_reference(scored, made, open_live, tiny_data):
    margins = scored(Preference, "dpo", SHORT).scored["preference"]["margin"]
    from harness.models.loading import load_tokenizer

    pairs = preference_pairs(tiny_data, load_tokenizer(made["dpo"]), 64, "test").found
    own, before = (answer_log_probabilities(open_live(made[name]), pairs, "fp32") for name in ("dpo", "base"))
    expected = [(a[0] - b[0]) - (a[1] - b[1]) for a, b in zip(own, before, strict=True)]
    assert margins == pytest.approx(expected, abs=1e-4) and any(margins)


def test_log_probabilities_of_answers_by_hand(made, open_live, tiny_data):
    from harness.models.loading import load_tokenizer

    model = open_live(made["base"])
    pair = preference_pairs(tiny_data, load_tokenizer(made["base"]), 64, "test").found[0]
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([pair.prompt + pair.chosen])).logits[0].double()
    total = 0.0
    for place, token in enumerate(pair.chosen, start=len(pair.prompt) - 1):
        total += float(logits[place, token] - torch.logsumexp(logits[place], dim=-1))
    assert answer_log_probabilities(model, [pair], "fp32")[0][0] == pytest.approx(total, abs=1e-3)


def test_calibration_error_by_hand():
    """Three answers at confidence 0.75, two of them right; one at 0.95, wrong."""
    margin, sure = math.log(3), math.log(19)
    expected = (abs(3 * 0.75 - 2) + abs(0.95 - 0)) / 4
    assert calibration_error([margin, margin, -margin, -sure]) == pytest.approx(expected)
    assert calibration_error([1000.0, -1000.0]) == pytest.approx(0.5)


def test_answers_are_judged_and_compared_with_the_reference(scored, made):
    meter = scored(JudgedGeneration, "ppo", SAMPLED, inputs={"judge": made["judge"]})
    columns, metrics = meter.scored["judged"], meter.metrics
    for name in ("judge_reward", "training_reward", "kl_from_reference"):
        assert metrics[name] == pytest.approx(numpy.mean(columns[name]))
    assert len(columns["item"]) == 8 and all(value >= 0 for value in columns["kl_from_reference"])
    assert metrics["answer_tokens"] == pytest.approx(numpy.mean(columns["tokens"])) and max(columns["tokens"]) <= 12
    assert 0 <= metrics["judge_accuracy"] <= 1 and 0 < metrics["distinct_1"] <= metrics["distinct_2"] <= 1
    base = scored(JudgedGeneration, "base", SAMPLED, inputs={"judge": made["judge"]})
    assert not {"training_reward", "kl_from_reference"} & set(base.metrics) and "judge_reward" in base.metrics
    again = scored(JudgedGeneration, "ppo", SAMPLED, inputs={"judge": made["judge"]})
    assert again.scored == meter.scored


def test_a_policy_that_is_its_reference_has_no_divergence(score, made, open_it):
    from dataclasses import replace

    still = replace(made["base"], parts={**made["base"].parts, "reference": made["base"].parts["model"]})
    meter = score(JudgedGeneration, open_it(still), checkpoint=still, params=SAMPLED)
    assert meter.scored["judged"]["kl_from_reference"] == pytest.approx([0.0] * 8, abs=1e-5)
    assert "judge_reward" not in meter.metrics, "without a judge there is no reward of one"


def test_a_judge_that_is_no_reward_model_is_refused(scored, made):
    with pytest.raises(StepError, match="the judge is no reward model: name a method that ends with reward_model"):
        scored(JudgedGeneration, "base", SAMPLED, inputs={"judge": made["dpo"]})


def test_samples_follow_the_seed_and_the_temperature(made, open_live):
    model = open_live(made["base"])
    prompts = [[5, 6, 7], [8], [9, 10]]

    def drawn(seed, temperature=1.0):
        return sample(model, prompts, 10, temperature, "fp32", 0, seed=seed)

    assert drawn(1) == drawn(1) != drawn(2)
    greedy = drawn(1, 1e-4)
    with torch.no_grad():
        first = int(model(input_ids=torch.tensor([prompts[0]])).logits[0, -1].argmax())
    assert greedy[0][0] == first and greedy == drawn(2, 1e-4)


def test_tempered_distributions_and_distinct_runs_by_hand():
    rows = numpy.log(numpy.array([[0.5, 0.25, 0.25]], dtype="float32"))
    powers = numpy.array([0.5, 0.25, 0.25]) ** 2
    assert numpy.exp(tempered(rows, 0.5)) == pytest.approx((powers / powers.sum())[None], rel=1e-5)
    assert distinct([[1, 2, 1, 2], [1, 3]], 1) == pytest.approx(3 / 6)
    assert distinct([[1, 2, 1, 2], [1, 3]], 2) == pytest.approx(3 / 4) and distinct([[1]], 2) == 0.0
