"""A vocabulary and a model from nothing: ``bpe``, ``clm``."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.errors import DataError, StepError
from harness.models.inspect import safetensors_header
from harness.models.loading import load_tokenizer


@pytest.fixture(scope="module")
def tokenizer(tokenizer_run):
    return load_tokenizer(tokenizer_run.checkpoint)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text())
def test_any_text_survives_encoding(tokenizer, text):
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False) == text


def test_the_vocabulary_is_learnt(tokenizer, tokenizer_run, tiny_data):
    assert tokenizer_run.meter.metrics["vocabulary_size"] == len(tokenizer) == 300
    text = tiny_data.view("text", "test")[0]
    assert len(tokenizer(text)["input_ids"]) < 0.7 * len(text.encode()), "merges shorten text of the same kind"
    assert tokenizer.pad_token_id != tokenizer.eos_token_id
    assert tokenizer_run.checkpoint.made == {"tokenizer"}


def test_its_parameters_arrive(run, tokenizer_run):
    given = tokenizer_run.job.checkpoint
    assert run("bpe", given, vocab_size=280).meter.metrics["vocabulary_size"] == 280
    with pytest.raises(StepError, match="the text gives a vocabulary of 258, not 2000: give more text"):
        run("bpe", given, vocab_size=2000, min_frequency=10**6)


def test_pretraining_learns(llama_run):
    losses = llama_run.losses
    assert len(losses) == 12
    assert sum(losses[-3:]) < 0.7 * sum(losses[:3])
    curve = [point["validation_bits_per_byte"] for point in llama_run.meter.points]
    assert [point["step"] for point in llama_run.meter.points] == [0, 6, 12]
    assert curve[0] > curve[1] > curve[2]


def test_pretraining_makes_a_model_for_its_tokenizer(llama_run, open_live):
    made = llama_run.checkpoint
    assert made.kind == "causal" and made.made == {"model"}
    model = open_live(made)
    assert model.get_input_embeddings().weight.shape == (300, 64)
    assert llama_run.meter.metrics["parameters"] == sum(value.numel() for value in model.parameters())
    assert llama_run.meter.metrics["trainable_share"] == 1.0


def test_pretraining_goes_on_from_a_given_model(run, llama, llama_run):
    more = run("clm", llama, job={"steps": 2, "batch_size": 8})
    assert more.losses[0] < 0.6 * llama_run.losses[0], "it begins where the given model stopped"


def test_both_optimisers_train_and_differ(pretrained):
    muon, adamw = (pretrained(job={"steps": 3}, optimizer=name) for name in ("muon", "adamw"))
    assert muon.losses[0] == adamw.losses[0] and muon.losses[-1] != adamw.losses[-1]


def test_too_little_text_is_one_clear_line(run, llama, tiny_data):
    with pytest.raises(DataError, match="'tiny' has too little text for one block of 100000 tokens"):
        run("clm", llama, job={"sequence_length": 100_000})


@pytest.mark.parametrize(("precision", "stored"), [("fp32", "F32"), ("bf16-mixed", "F32"), ("bf16", "BF16")])
def test_the_precision_is_the_one_asked_for(pretrained, precision, stored):
    ran = pretrained(job={"steps": 2, "precision": precision})
    header = safetensors_header(ran.checkpoint.parts["model"] / "model.safetensors")
    assert {tensor["dtype"] for tensor in header.values()} == {stored}
    assert ran.meter.observed["autocast"] == ("bf16" if precision == "bf16-mixed" else "no")


def test_mixed_precision_is_really_mixed(pretrained):
    full, mixed = (pretrained(job={"steps": 2, "precision": name}).losses for name in ("fp32", "bf16-mixed"))
    assert full != mixed
    assert mixed == pytest.approx(full, rel=0.01)


def test_a_stage_can_have_a_budget_of_its_own(run, llama):
    assert len(run("clm", llama, steps=2).losses) == 2
    ran = run("clm", llama, tokens=3 * 4 * 64)
    assert len(ran.losses) == 3
    assert replace(ran.job.budget) == ran.job.budget
