"""``full_finetune``: everything moves, and adapters that are there already are merged first."""

from __future__ import annotations

import pytest

from harness.errors import StepError


@pytest.fixture(scope="module")
def trained(run, llama, few_data):
    return run("full_finetune", llama, job={"steps": 10, "batch_size": 8, "evaluations": 1, "data": few_data})


def test_every_parameter_moved(trained, llama, open_live):
    before = dict(open_live(llama).named_parameters())
    after = dict(open_live(trained.checkpoint).named_parameters())
    assert before.keys() == after.keys()
    assert [name for name in before if bool((before[name] == after[name]).all())] == []
    assert trained.meter.metrics["trainable_share"] == 1.0
    assert trained.checkpoint.made == {"model"}


def test_the_loss_falls(trained):
    assert trained.losses[-1] < 0.9 * trained.losses[0]
    first, last = trained.meter.points
    assert last["validation_loss"] < first["validation_loss"]


def test_adapters_are_merged_first(run, llama, as_input, open_live, logits):
    adapted = as_input(run("lora", llama, rank=4, job={"steps": 8}).checkpoint)
    # A rate of 0 leaves what training started from.
    result = run("full_finetune", adapted, learning_rate=0.0, job={"steps": 1}).checkpoint
    assert set(result.parts) == {"model", "tokenizer"} and not result.opened_by
    assert result.parts["model"] != llama.parts["model"]
    assert (logits(open_live(result)) - logits(open_live(adapted))).abs().max() < 1e-5
    assert (logits(open_live(result)) - logits(open_live(llama))).abs().max() > 1e-3


def test_a_quantised_model_is_refused_in_one_clear_line(run, llama, as_input):
    small = as_input(run("int8", llama).checkpoint)
    with pytest.raises(StepError, match="int8 weights cannot be trained: put full_finetune before the compression"):
        run("full_finetune", small, job={"steps": 1})


def test_the_given_folder_is_not_touched(run, llama, folder_hash):
    before = folder_hash(llama.parts["model"])
    run("full_finetune", llama, job={"steps": 1})
    assert folder_hash(llama.parts["model"]) == before
