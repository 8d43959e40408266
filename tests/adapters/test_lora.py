"""``lora``: the base stays as it is to the bit, and what is added is what was asked for."""

from __future__ import annotations

import json

import pytest

from harness.contract import Hardware
from harness.errors import StepError
from harness.models.inspect import safetensors_header
from harness.models.loading import load_merged

# Of the tiny Llama: name -> (inputs, outputs); two layers.
SHAPES = {
    "q_proj": (64, 64), "k_proj": (64, 32), "v_proj": (64, 32), "o_proj": (64, 64),
    "gate_proj": (64, 128), "up_proj": (64, 128), "down_proj": (128, 64),
}  # fmt: skip


def added(rank, modules, layers=2):
    return layers * sum(rank * sum(SHAPES[name]) for name in modules)


def adapter_config(ran):
    return json.loads((ran.checkpoint.parts["peft"] / "adapter_config.json").read_text())


@pytest.fixture(scope="module")
def trained(watched, llama, few_data, folder_hash):
    before = folder_hash(llama.parts["model"])
    job = {"steps": 10, "batch_size": 8, "evaluations": 1, "data": few_data}
    ran, model, tensors = watched("lora", llama, rank=4, learning_rate=0.02, job=job)
    return ran, model, tensors, before


def test_frozen_weights_stay_as_they_were_to_the_bit(trained, hashes, folder_hash, llama):
    ran, model, before, files = trained
    after = hashes(model)
    assert before.keys() == after.keys()
    frozen = [name for name in before if "lora_" not in name]
    assert len(frozen) >= 20
    assert [name for name in frozen if before[name] != after[name]] == []
    assert ran.checkpoint.parts["model"] == llama.parts["model"] and ran.checkpoint.made == {"peft"}
    assert folder_hash(llama.parts["model"]) == files, "nor is the given folder touched"


def test_every_added_matrix_moved(trained, hashes):
    _, model, before, _ = trained
    after = hashes(model)
    assert [name for name in before if "lora_" in name and before[name] == after[name]] == []


def test_only_the_added_matrices_are_trainable(trained):
    ran = trained[0]
    names = ran.meter.observed["trainable"]
    assert names and all("lora_" in name for name in names)
    assert ran.meter.metrics["trainable_parameters"] == added(4, ("q_proj", "v_proj"))
    header = safetensors_header(ran.checkpoint.parts["peft"] / "adapter_model.safetensors")
    assert len(header) == len(names) and all("lora_" in name for name in header)


def test_the_loss_falls_on_what_it_trains_on_and_on_what_it_does_not_see(trained):
    ran = trained[0]
    assert ran.losses[-1] < 0.95 * ran.losses[0]
    first, last = ran.meter.points
    assert last["validation_loss"] < first["validation_loss"]


def test_the_trained_adapter_is_not_without_effect(trained, llama, open_live, logits):
    moved = (logits(open_live(trained[0].checkpoint)) - logits(open_live(llama))).abs().max()
    assert moved > 0.01


def test_merged_and_unmerged_give_the_same(trained, open_live, logits):
    checkpoint = trained[0].checkpoint
    unmerged = open_live(checkpoint)
    merged = load_merged(checkpoint, "fp32", Hardware()).eval()
    assert not any("lora_" in name for name, _ in merged.named_parameters())
    assert any("lora_" in name for name, _ in unmerged.named_parameters())
    assert (logits(unmerged) - logits(merged)).abs().max() < 1e-5


def test_plain_peft_loads_the_adapter(trained, open_live, logits):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    parts = trained[0].checkpoint.parts
    base = AutoModelForCausalLM.from_pretrained(parts["model"])
    plain = PeftModel.from_pretrained(base, str(parts["peft"])).eval()
    assert (logits(plain) - logits(open_live(trained[0].checkpoint))).abs().max() == 0


def test_defaults_are_the_ones_that_are_promised(trained):
    config = adapter_config(trained[0])
    assert (config["r"], config["lora_alpha"], config["lora_dropout"]) == (4, 8, 0.0)
    assert set(config["target_modules"]) == {"q_proj", "v_proj"}
    layer = trained[1].base_model.model.model.layers[0].self_attn.q_proj
    assert layer.scaling["default"] == 2.0


def test_parameters_arrive(watched, llama):
    ran, model, _ = watched(
        "lora", llama, rank=2, alpha=6, dropout=0.25, target_modules="k_proj, down_proj", job={"steps": 1}
    )
    config = adapter_config(ran)
    assert (config["r"], config["lora_alpha"], config["lora_dropout"]) == (2, 6, 0.25)
    assert set(config["target_modules"]) == {"k_proj", "down_proj"}
    assert ran.meter.metrics["trainable_parameters"] == added(2, ("k_proj", "down_proj"))
    layer = model.base_model.model.model.layers[1].mlp.down_proj
    assert layer.scaling["default"] == 3.0 and layer.lora_dropout["default"].p == 0.25


def test_all_linear_means_every_linear_layer_but_the_head(run, llama):
    ran = run("lora", llama, rank=2, target_modules="all-linear", job={"steps": 1})
    assert ran.meter.metrics["trainable_parameters"] == added(2, SHAPES)
    assert not any("lm_head" in name for name in ran.meter.observed["trainable"])


def test_dropout_takes_part_in_training(run, llama):
    without, with_it = (run("lora", llama, rank=4, dropout=value, job={"steps": 3}).losses for value in (0.0, 0.5))
    assert without[0] == with_it[0], "the update is zero at first"
    assert without[1:] != with_it[1:]


def test_unknown_modules_are_one_clear_line(run, llama):
    with pytest.raises(StepError) as caught:
        run("lora", llama, target_modules="no_such_layer")
    assert "no_such_layer" in str(caught.value) and "\n" not in str(caught.value)


def test_on_a_gpt2_shape(run, gpt2, open_live, logits):
    ran = run("lora", gpt2, rank=4, job={"steps": 4})
    assert set(adapter_config(ran)["target_modules"]) == {"c_attn"}
    assert ran.meter.metrics["trainable_parameters"] == 2 * 4 * (64 + 192)
    unmerged, merged = open_live(ran.checkpoint), load_merged(ran.checkpoint, "fp32", Hardware()).eval()
    assert (logits(unmerged) - logits(merged)).abs().max() < 1e-5
    assert (logits(unmerged) - logits(open_live(gpt2))).abs().max() > 1e-3


def test_a_second_adapter_starts_from_the_first_one_merged(run, trained, as_input, open_live, logits):
    first = as_input(trained[0].checkpoint)
    second = run("lora", first, rank=2, job={"steps": 1}, learning_rate=0.0)
    assert second.checkpoint.made == {"model", "peft"}
    assert (logits(open_live(second.checkpoint)) - logits(open_live(first))).abs().max() < 1e-5
