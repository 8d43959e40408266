"""From a job to a set-up: the technique's own rates, the suite's budget, the stage's own budget, then modifiers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.contract import Budget, Checkpoint, TrainingParams
from harness.errors import UsageError
from harness.training.setup import training_setup

NOTHING = Checkpoint(kind="none", parts={})


def test_everything_that_a_technique_and_a_budget_say_arrives(make_job):
    params = TrainingParams(
        learning_rate=0.5, schedule="linear", warmup_share=0.2, optimizer="muon", weight_decay=0.1, max_grad_norm=2.0
    )
    job = make_job(NOTHING, params=params, steps=7, batch_size=6, micro_batch_size=3, evaluations=3, precision="bf16")
    setup = training_setup(job)
    own = set(vars(params)) - {"batch_size", "sequence_length"}
    assert {name: getattr(setup, name) for name in own if hasattr(setup, name)} == {
        "learning_rate": 0.5, "schedule": "linear", "warmup_share": 0.2, "optimizer": "muon", "weight_decay": 0.1,
        "max_grad_norm": 2.0, "steps": 7,
    }  # fmt: skip
    assert (setup.batch_size, setup.micro_batch_size, setup.sequence_length) == (6, 3, 64)
    assert (setup.evaluations, setup.precision) == (3, "bf16")


def test_a_budget_of_bytes_becomes_steps_by_the_text(make_job):
    job = make_job(NOTHING, params=TrainingParams(), steps=None, batch_size=4)
    job.budget = Budget(bytes=100_000, batch_size=4, sequence_length=64)
    assert training_setup(job, 2.5).steps == 100_000 / 2.5 // (4 * 64)
    with pytest.raises(UsageError, match="a budget of bytes is for techniques that train on running text"):
        training_setup(job)


def test_a_micro_batch_is_the_whole_batch_unless_said(make_job):
    assert training_setup(make_job(NOTHING, params=TrainingParams(), batch_size=6)).micro_batch_size == 6


def test_a_micro_batch_that_does_not_divide_the_batch_is_refused(make_job):
    with pytest.raises(UsageError, match="batch_size 8 is not a multiple of micro_batch_size 3"):
        training_setup(make_job(NOTHING, params=TrainingParams(), batch_size=8, micro_batch_size=3))


def test_modifiers_come_last(make_job):
    job = make_job(NOTHING, params=TrainingParams(learning_rate=0.5))
    job.modify = lambda setup: replace(setup, learning_rate=2 * setup.learning_rate)
    assert training_setup(job).learning_rate == 1.0


@pytest.mark.parametrize(
    ("params", "steps"),
    [
        (TrainingParams(), 10),
        (TrainingParams(steps=3), 3),
        (TrainingParams(tokens=4 * 8 * 64), 4),
        (TrainingParams(tokens=1), 1),
    ],
)
def test_a_stages_own_budget_goes_before_the_suites(params, steps):
    budget = Budget(steps=10, batch_size=8, sequence_length=64)
    assert budget.of_stage(params).optimizer_steps() == steps


def test_a_stages_own_batch_and_length_go_before_the_suites(make_job):
    setup = training_setup(make_job(NOTHING, params=TrainingParams(batch_size=2, sequence_length=16), batch_size=8))
    assert (setup.batch_size, setup.micro_batch_size, setup.sequence_length) == (2, 2, 16)
