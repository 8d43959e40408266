"""``qlora``: the base is 4-bit while it trains and whenever the result is opened again."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from harness.models import checkpoint as checkpoints
from harness.models.inspect import describe_model

LINEAR_LAYERS = 14
ALL_LINEAR = 2 * (128 + 96 + 96 + 128 + 192 + 192 + 192)


def four_bit_layers(model):
    from bitsandbytes.nn import Linear4bit

    return [module for module in model.modules() if isinstance(module, Linear4bit)]


@pytest.fixture(scope="module")
def trained(watched, llama, few_data):
    return watched("qlora", llama, rank=4, learning_rate=0.02, job={"steps": 10, "batch_size": 8, "data": few_data})


def test_the_base_is_nf4_with_double_quantisation_while_it_trains(trained):
    ran, model, _ = trained
    layers = four_bit_layers(model)
    assert len(layers) == LINEAR_LAYERS
    assert {layer.weight.quant_state.quant_type for layer in layers} == {"nf4"}
    assert all(layer.weight.quant_state.nested for layer in layers)
    assert all(str(layer.weight.dtype) == "torch.uint8" for layer in layers)
    assert ran.meter.observed["model"]["quantized_layers"] == {"nf4+double": LINEAR_LAYERS}


def test_the_base_does_not_move(trained, hashes):
    _, model, before = trained
    after = hashes(model)
    frozen = [name for name in before if "lora_" not in name]
    assert len(frozen) >= LINEAR_LAYERS
    assert [name for name in frozen if before[name] != after[name]] == []
    assert all(before[name] != after[name] for name in before if "lora_" in name)


def test_only_the_added_matrices_are_trainable(trained):
    ran = trained[0]
    assert all("lora_" in name for name in ran.meter.observed["trainable"])
    assert ran.meter.metrics["trainable_parameters"] == 4 * ALL_LINEAR
    assert ran.meter.metrics["parameters"] == 93248 + 4 * ALL_LINEAR, "packed weights count as what they stand for"


def test_the_loss_falls(trained):
    losses = trained[0].losses
    assert losses[-1] < 0.95 * losses[0]


def test_opened_again_the_base_is_4_bit_again(trained, tmp_path, logits):
    ran, live, _ = trained
    (tmp_path / "partial").mkdir()
    stored = replace(ran.checkpoint, made=frozenset())
    checkpoints.seal(stored, tmp_path / "partial", tmp_path / "cache", "step")
    job = replace(ran.job, checkpoint=checkpoints.load(tmp_path / "cache", "step"))
    scorer = ran.adapter.eval(job)
    assert scorer.describe()["quantized_layers"] == {"nf4+double": LINEAR_LAYERS}
    assert any("lora_" in name for name, _ in scorer.model.named_parameters())
    # On a CPU with AVX512-BF16 bitsandbytes evaluates in bfloat16, whatever the precision; training it does not.
    assert (logits(scorer.model) - logits(live.eval())).abs().max() < 0.02


def test_the_quantised_base_is_not_the_given_one(trained, llama, open_live, logits):
    with trained[1].disable_adapter():
        difference = (logits(trained[1].eval()) - logits(open_live(llama))).abs()
    assert 1e-3 < difference.mean() < 1.0


def test_parameters_arrive(watched, llama):
    ran, model, _ = watched(
        "qlora", llama, rank=2, alpha=2, quant_type="fp4", double_quant=False, target_modules="q_proj",
        job={"steps": 1},
    )  # fmt: skip
    assert describe_model(model)["quantized_layers"] == {"fp4": LINEAR_LAYERS}
    assert ran.meter.metrics["trainable_parameters"] == 2 * 2 * 128
    config = json.loads((ran.checkpoint.parts["peft"] / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"]) == (2, 2)


@pytest.mark.parametrize(("precision", "computed"), [("fp32", "torch.float32"), ("bf16-mixed", "torch.bfloat16")])
def test_products_are_computed_in_the_cells_precision(watched, llama, precision, computed):
    _, model, _ = watched("qlora", llama, rank=2, job={"steps": 1, "precision": precision})
    assert {str(layer.compute_dtype) for layer in four_bit_layers(model)} == {computed}


def test_compressed_afterwards_nothing_of_the_4_bit_base_is_left(run, trained, as_input, open_live):
    made = run("int8", as_input(trained[0].checkpoint)).checkpoint
    assert "peft" not in made.parts and not made.opened_by
    assert describe_model(open_live(made))["quantized_layers"] == {"int8": LINEAR_LAYERS}
