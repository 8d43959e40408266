"""Tuning: equally many trials for every technique, cells once the trials are finished, with the values they chose."""

from __future__ import annotations

import math

import pytest

from harness.errors import SuiteError

SUITE = """
method: [base, lora, "lora(rank=4)", lora > int8, full_finetune]
precision: bf16-mixed
seed: [0, 1]
tasks: perplexity
budget: {steps: 60}
tune:
  params:
    lora: {learning_rate: [1e-3, 1e-2]}
    full_finetune: {learning_rate: [1e-4, 1e-3]}
"""
LOSSES = {"lora(learning_rate=0.001)": 2.0, "lora(learning_rate=0.01)": 1.5, "full_finetune(learning_rate=0.0001)": 1.0,
          "full_finetune(learning_rate=0.001)": math.inf, "lora(learning_rate=0.001, rank=4)": 1.0,
          "lora(learning_rate=0.01, rank=4)": 3.0}  # fmt: skip


def told(step):
    return LOSSES[step.method_text]


def test_without_results_a_plan_has_the_trials_and_what_is_not_tuned(planned):
    plan = planned(SUITE)
    assert [cell.method for cell in plan.cells] == ["base"]
    assert {trial.of for trial in plan.trials} == set(LOSSES)
    assert {cell.method for cell in plan.waiting} == {"lora", "lora(rank=4)", "lora > int8", "full_finetune"}
    trials = [step for step in plan.steps if step.id in {trial.step for trial in plan.trials}]
    assert len(trials) == 6
    assert {(step.operation, step.seed, step.state) for step in trials} == {("train", 1000, "runnable")}


def test_finished_trials_choose(planned):
    plan = planned(SUITE, tried=told)
    assert not plan.waiting
    assert {cell.method for cell in plan.cells} == {
        "base", "lora(learning_rate=0.01)", "lora(learning_rate=0.001, rank=4)",
        "lora(learning_rate=0.01) > int8", "full_finetune(learning_rate=0.0001)",
    }  # fmt: skip
    assert {cell.seed for cell in plan.cells} == {0, 1, None}
    assert {trial.of for trial in plan.trials if trial.chosen} == {
        "lora(learning_rate=0.01)", "lora(learning_rate=0.001, rank=4)", "full_finetune(learning_rate=0.0001)",
    }  # fmt: skip
    shown = plan.to_dict()["trials"]
    assert next(one for one in shown if one["of"] == "full_finetune(learning_rate=0.001)")["loss"] is None


def test_one_missing_trial_keeps_its_cells_waiting(planned):
    plan = planned(SUITE, tried=lambda step: None if step.method_text == "lora(learning_rate=0.01)" else told(step))
    assert {cell.method for cell in plan.waiting} == {"lora", "lora > int8"}
    assert {cell.method for cell in plan.cells} >= {"full_finetune(learning_rate=0.0001)"}


def test_a_chain_is_tuned_stage_by_stage(planned):
    text = SUITE.replace('[base, lora, "lora(rank=4)", lora > int8, full_finetune]', "full_finetune > lora")
    first = planned(text)
    assert {trial.of for trial in first.trials} == {name for name in LOSSES if name.startswith("full")}

    def partly(step):
        return LOSSES.get(step.method_text)

    second = planned(text, tried=partly)
    chain = "full_finetune(learning_rate=0.0001) > lora(learning_rate={})"
    assert {trial.of for trial in second.trials} - set(LOSSES) == {chain.format(rate) for rate in ("0.001", "0.01")}


def test_a_value_that_the_method_gives_itself_is_left_alone(planned):
    plan = planned(SUITE.replace("lora > int8, ", "lora(learning_rate=0.5), "))
    assert "lora(learning_rate=0.5)" in {cell.method for cell in plan.cells}


def test_where_a_technique_cannot_run_the_cell_says_why(planned):
    plan = planned(SUITE.replace("bf16-mixed", "bf16-mixed\nhardware: cuda"))
    assert not plan.waiting and not plan.trials
    assert {step.reason for step in plan.steps} == {"no CUDA device on this machine"}


def test_trials_at_a_precision_of_their_own_serve_all_cells(planned):
    text = SUITE.replace("precision: bf16-mixed", "precision: [fp32, bf16-mixed]") + "  precision: bf16-mixed\n"
    plan = planned(text, tried=told)
    assert {trial.precision for trial in plan.trials} == {"bf16-mixed"} and len(plan.trials) == 6
    assert {cell.precision for cell in plan.cells} == {"fp32", "bf16-mixed"}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[1e-3, 1e-2]", "[1e-3, 1e-2, 1e-1]", "tune: every technique gets as many trials (lora 3, full_finetune 2)"),
        ("seed: [0, 1]", "seed: [0, 1000]", "tune: the seed of the trials, 1000, is a cell's too; give another"),
        ("lora: {learning_rate", "lora: {learning_rat", "did you mean 'learning_rate'?"),
        ("    lora: {", "    lore: {", "unknown technique 'lore'; did you mean 'lora'?"),
        ("budget: {steps: 60}", "budget: {steps: 60, evaluations: 0}", "tune: trials need evaluations: 1 or more"),
        ("budget: {steps: 60}", "budget: {steps: 60}\nparams: {lora: {learning_rate: 0.1}}",
         "tune: learning_rate of 'lora' is given under params: already"),
    ],
)  # fmt: skip
def test_mistakes_are_one_line_with_the_place(planned, old, new, message):
    with pytest.raises(SuiteError) as caught:
        planned(SUITE.replace(old, new))
    assert message in str(caught.value) and "\n" not in str(caught.value) and "suite.yaml:" in str(caught.value)
