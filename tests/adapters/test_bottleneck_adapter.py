"""``bottleneck_adapter``: Houlsby's networks in place, near the identity, and a method that PEFT handles as its own."""

from __future__ import annotations

import json

import pytest
import torch
from peft import PeftModel, get_peft_model

from harness.contract import Hardware
from harness.errors import StepError
from harness.models.architectures import ARCHITECTURES, auto_class, configuration
from harness.models.bottleneck import BottleneckConfig, BottleneckLayer
from harness.models.inspect import safetensors_header
from harness.models.loading import load_merged

SIZES = {"hidden_size": 32, "intermediate_size": 48, "layers": 2, "heads": 4, "kv_heads": 2, "vocab_size": 120}
# Bottlenecks per architecture: two a layer, three in a decoder that also looks at an encoder.
PLACES = {"llama": 4, "gpt2": 4, "bert": 4, "t5": 10, "bart": 10}
NORMS = {
    "llama": 5 * 32, "gpt2": 5 * 64, "bert": (4 + 1 + 1) * 64, "t5": (4 + 1 + 6 + 1) * 32, "bart": (4 + 1 + 6 + 1) * 64,
}  # fmt: skip


@pytest.fixture(scope="module")
def trained(run, llama, few_data, folder_hash):
    before = folder_hash(llama.parts["model"])
    job = {"steps": 12, "batch_size": 8, "evaluations": 1, "data": few_data}
    return run("bottleneck_adapter", llama, size=8, learning_rate=0.01, job=job), before


def live(name):
    torch.manual_seed(0)
    config = configuration({"architecture": name, **SIZES})
    return auto_class(ARCHITECTURES[name]).from_config(config).eval()


def outputs(model, name):
    ids = torch.arange(12).reshape(2, 6) + 2
    more = {"decoder_input_ids": ids} if ARCHITECTURES[name] == "seq2seq" else {}
    with torch.no_grad():
        return model(input_ids=ids, attention_mask=torch.ones_like(ids), **more).logits


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_it_stands_behind_both_blocks_of_every_layer(name):
    model = get_peft_model(live(name), BottleneckConfig(size=4))
    layers = [module for module in model.modules() if isinstance(module, BottleneckLayer)]
    assert len(layers) == PLACES[name]
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    norms = NORMS[name]
    assert trainable == PLACES[name] * (2 * 4 * 32 + 4 + 32) + norms


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_it_starts_near_the_identity_and_off_it_is_the_base_to_the_bit(name):
    base = outputs(live(name), name)
    model = get_peft_model(live(name), BottleneckConfig(size=4)).eval()
    moved = (outputs(model, name) - base).abs().max()
    assert 0 < moved < 0.02 * base.abs().max()
    with model.disable_adapter():
        assert torch.equal(outputs(model, name), base)


def test_a_layer_by_hand():
    model = get_peft_model(live("llama"), BottleneckConfig(size=3))
    layer = model.base_model.model.model.layers[0].mlp.down_proj
    x = torch.randn(2, 5, 48)
    h = x @ layer.base_layer.weight.T
    down, up = layer.bottleneck_down["default"], layer.bottleneck_up["default"]
    inner = torch.nn.functional.gelu(h @ down.weight.T + down.bias)
    assert torch.allclose(layer(x), h + inner @ up.weight.T + up.bias, atol=1e-6)
    for linear in (down, up):
        assert linear.weight.abs().max() <= 0.02 and 0.004 < linear.weight.std() < 0.014
        assert not linear.bias.any()


def test_training_moves_the_bottlenecks_and_norms_alone(trained, llama, folder_hash):
    ran, files = trained
    names = ran.meter.observed["trainable"]
    assert names and all("bottleneck_" in name or "modules_to_save" in name for name in names)
    assert ran.meter.metrics["trainable_parameters"] == 4 * (2 * 8 * 64 + 8 + 64) + 5 * 64
    assert ran.losses[-1] < 0.95 * ran.losses[0]
    assert ran.checkpoint.made == {"peft"} and folder_hash(llama.parts["model"]) == files


def test_what_is_saved_is_the_adapter_alone(trained):
    folder = trained[0].checkpoint.parts["peft"]
    header = safetensors_header(folder / "adapter_model.safetensors")
    assert len(header) == 4 * 4 + 5
    config = json.loads((folder / "adapter_config.json").read_text())
    assert (config["peft_type"], config["size"]) == ("BOTTLENECK", 8)
    assert set(config["target_modules"]) == {"o_proj", "down_proj"}


def test_plain_peft_loads_it_and_takes_it_off_again(trained, llama, open_live, logits):
    parts = trained[0].checkpoint.parts
    opened = open_live(trained[0].checkpoint)
    plain = PeftModel.from_pretrained(open_live(llama), str(parts["peft"])).eval()
    assert torch.equal(logits(plain), logits(opened))
    base = logits(open_live(llama))
    assert (logits(opened) - base).abs().max() > 0.01
    with plain.disable_adapter():
        assert torch.equal(logits(plain), base)
    assert not [one for one in plain.unload().modules() if isinstance(one, BottleneckLayer)]


def test_several_adapters_share_one_base(trained, run, llama, as_input, open_live, logits):
    first = trained[0].checkpoint.parts["peft"]
    other = run("bottleneck_adapter", llama, size=4, job={"steps": 2, "seed": 1}).checkpoint.parts["peft"]
    model = PeftModel.from_pretrained(open_live(llama), str(first), adapter_name="first")
    model.load_adapter(str(other), adapter_name="other")
    model.eval()
    seen = {}
    for name in ("first", "other", "first"):
        model.set_adapter(name)
        seen.setdefault(name, []).append(logits(model))
    assert torch.equal(seen["first"][0], logits(open_live(trained[0].checkpoint)))
    assert torch.equal(*seen["first"]) and not torch.equal(seen["first"][0], seen["other"][0])


def test_merging_is_refused_with_the_reason(trained, open_live):
    with pytest.raises(ValueError, match="non-linearity between their matrices and cannot be merged"):
        open_live(trained[0].checkpoint).merge_and_unload()
    with pytest.raises(StepError, match="bottleneck cannot be merged into the weights"):
        load_merged(trained[0].checkpoint, "fp32", Hardware())


def test_without_norms_the_bottlenecks_alone_learn(run, llama):
    ran = run("bottleneck_adapter", llama, size=4, train_norms=False, job={"steps": 1})
    assert all("bottleneck_" in name for name in ran.meter.observed["trainable"])


def test_over_a_4_bit_base(run, llama, open_live):
    from harness.models.loading import load_model
    from harness.models.quantization import four_bit

    quantized = load_model(llama, "fp32", Hardware(), quantization=four_bit("nf4", False, "fp32").config())
    model = get_peft_model(quantized, BottleneckConfig(size=4))
    ids = torch.arange(12).reshape(2, 6) + 2
    model(input_ids=ids, labels=ids).loss.backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)


def test_unknown_architectures_are_one_clear_line():
    with pytest.raises(ValueError, match="target_modules"):
        get_peft_model(torch.nn.Sequential(torch.nn.Linear(4, 4)), BottleneckConfig())
    with pytest.raises(ValueError, match="a bottleneck stands behind a linear layer, not behind Embedding"):
        get_peft_model(live("gpt2"), BottleneckConfig(target_modules=["wte"]))
