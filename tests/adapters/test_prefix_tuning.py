"""``prefix_tuning``: keys and values in front, counted to the last parameter, and nothing of the base moved."""

from __future__ import annotations

import pytest

from harness.contract import Hardware
from harness.errors import StepError
from harness.models.loading import load_merged

# 2 x layers x (key-value heads x head size): the tiny models have 2 layers, 4 heads of 16, llama 2 key-value heads.
PER_VECTOR = {"llama": 2 * 2 * 2 * 16, "gpt2": 2 * 2 * 64}


@pytest.fixture(scope="module")
def trained(run, llama, few_data, folder_hash):
    before = folder_hash(llama.parts["model"])
    job = {"steps": 15, "batch_size": 8, "evaluations": 1, "data": few_data}
    return run("prefix_tuning", llama, prefix_length=5, learning_rate=0.1, job=job), before


def test_the_base_stays_and_the_loss_falls(trained, llama, folder_hash):
    ran, files = trained
    assert ran.losses[-1] < ran.losses[0]
    assert folder_hash(llama.parts["model"]) == files and ran.checkpoint.made == {"peft"}
    assert ran.meter.observed["trainable"] == ["prompt_encoder.default.embedding.weight"]


@pytest.mark.parametrize("length", [1, 20])
@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_parameters_are_2_x_layers_x_width_x_length(name, length, run, request):
    ran = run("prefix_tuning", request.getfixturevalue(name), prefix_length=length, job={"steps": 1})
    assert ran.meter.metrics["trainable_parameters"] == PER_VECTOR[name] * length


def test_a_reparametrised_prefix_trains_more_and_leaves_the_same(run, llama):
    ran = run("prefix_tuning", llama, prefix_length=3, reparametrize=True, job={"steps": 2})
    width = PER_VECTOR["llama"] // 4
    assert ran.meter.metrics["trainable_parameters"] == (
        3 * width + (width * width + width) + (width * 4 * width + 4 * width)
    )
    from safetensors.torch import load_file

    (kept,) = load_file(ran.checkpoint.parts["peft"] / "adapter_model.safetensors").values()
    assert kept.numel() == PER_VECTOR["llama"] * 3


def test_the_opened_model_reads_the_prefix(trained, llama, open_live, logits):
    moved = (logits(open_live(trained[0].checkpoint)) - logits(open_live(llama))).abs().max()
    assert moved > 0.01


def test_the_validation_loss_is_that_of_the_opened_model(trained, make_job, few_data):
    """What training saw at its end is what an evaluation opens afterwards."""
    from harness.models.loading import load_tokenizer
    from harness.models.scoring import token_bytes
    from harness.training.examples import answers_to_score
    from harness.training.validation import mean_loss

    ran = trained[0]
    scorer = ran.adapter.eval(make_job(ran.checkpoint))
    tokenizer = load_tokenizer(ran.checkpoint)
    held_out = answers_to_score(few_data.view("instructions", "validation"), tokenizer, token_bytes(tokenizer), 64, 64)
    found = mean_loss(scorer.model, held_out, "fp32")["validation_loss"]
    assert found == pytest.approx(ran.meter.points[-1]["validation_loss"], rel=1e-5)


def test_generation_reads_it_too(trained, llama, make_job):
    prompt = [5, 6, 7, 8]
    written = {}
    for name, checkpoint in (("prefix", trained[0].checkpoint), ("base", llama)):
        out = []
        trained[0].adapter.eval(make_job(checkpoint)).generate([prompt], 8, out.extend)
        written[name] = out
    assert len(written["prefix"]) == 8 and written["prefix"] != written["base"]


def test_nothing_can_follow_it(trained):
    with pytest.raises(StepError, match="prefix_tuning cannot be merged into the weights"):
        load_merged(trained[0].checkpoint, "fp32", Hardware())


def test_checkpointing_is_refused_with_the_reason(run, llama):
    with pytest.raises(StepError, match="through the cache, which gradient_checkpointing has not"):
        run("prefix_tuning", llama, job={"steps": 1, "modifiers": ["gradient_checkpointing"]})
