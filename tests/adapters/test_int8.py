"""``int8``: 8-bit linear layers, in memory and on disk, and nothing else changed."""

from __future__ import annotations

import json

import pytest

from harness.contract import Hardware
from harness.errors import StepError
from harness.models.inspect import describe_model, safetensors_header, weight_bytes
from harness.models.loading import load_merged
from harness.models.quantization import bitsandbytes, eight_bit, quantize

LINEAR_LAYERS = 14
LINEAR_WEIGHTS = 2 * (64 * 64 + 2 * 32 * 64 + 64 * 64 + 3 * 64 * 128)
LINEAR_ROWS = 2 * (64 + 32 + 32 + 64 + 128 + 128 + 64)
REST = 300 * 64 + 5 * 64


def tensors(checkpoint):
    """Stored tensors by name: (dtype, bytes)."""
    header = safetensors_header(checkpoint.parts["model"] / "model.safetensors")
    return {name: (item["dtype"], item["data_offsets"][1] - item["data_offsets"][0]) for name, item in header.items()}


@pytest.fixture(scope="module")
def compressed(run, llama):
    return run("int8", llama)


def test_linear_layers_are_8_bit_when_opened(compressed, open_live):
    model = open_live(compressed.checkpoint)
    found = describe_model(model)
    assert found["layer_classes"]["Linear8bitLt"] == LINEAR_LAYERS == found["quantized_layers"]["int8"]
    assert found["layer_classes"]["Linear"] == 1, "the head, which is the embedding"
    assert found["dtypes"]["int8"] == LINEAR_WEIGHTS
    assert compressed.meter.metrics["parameters"] == found["parameters"] == LINEAR_WEIGHTS + REST


def test_a_linear_weight_takes_one_byte(compressed):
    stored = tensors(compressed.checkpoint)
    assert sum(size for dtype, size in stored.values() if dtype == "I8") == LINEAR_WEIGHTS
    scales = sum(size for name, (_, size) in stored.items() if name.endswith(".SCB"))
    assert scales == 4 * LINEAR_ROWS, "one float32 a row"


@pytest.mark.parametrize("precision", ["fp32", "bf16-mixed", "bf16"])
def test_the_rest_is_stored_in_16_bits_whatever_the_precision(run, llama, precision):
    stored = tensors(run("int8", llama, job={"precision": precision}).checkpoint)
    rest = {name: item for name, item in stored.items() if "embed" in name or "norm" in name}
    assert len(rest) == 6
    assert {dtype for dtype, _ in rest.values()} == {"BF16"}
    assert sum(size for _, size in rest.values()) == 2 * REST


def test_the_file_is_smaller_than_the_16_bit_one(run, llama, compressed, open_live, tmp_path):
    open_live(llama, "bf16").save_pretrained(tmp_path)
    plain = (tmp_path / "model.safetensors").stat().st_size
    small = weight_bytes(compressed.checkpoint)
    assert 0.5 * plain < small < 0.8 * plain, "less than half is saved: embeddings and norms stay"


def test_it_changes_the_model_a_little(compressed, llama, open_live, logits):
    difference = (logits(open_live(compressed.checkpoint)) - logits(open_live(llama))).abs()
    assert 1e-5 < difference.mean() < 0.1


def test_the_threshold_arrives(run, llama):
    made = run("int8", llama, threshold=2.5).checkpoint
    config = json.loads((made.parts["model"] / "config.json").read_text())["quantization_config"]
    assert config["llm_int8_threshold"] == 2.5 and config["load_in_8bit"] is True


def test_adapters_are_merged_first(run, llama, as_input, compressed, open_live, logits):
    adapted = as_input(run("lora", llama, rank=4, job={"steps": 8, "batch_size": 8}).checkpoint)
    ran = run("int8", adapted)
    assert set(ran.checkpoint.parts) == {"model", "tokenizer"} and ran.checkpoint.made == {"model"}
    assert "merge" in ran.meter.spans
    model = open_live(ran.checkpoint)
    assert describe_model(model)["quantized_layers"] == {"int8": LINEAR_LAYERS}
    merged = logits(load_merged(adapted, "fp32", Hardware()).eval())
    untrained = logits(open_live(compressed.checkpoint))
    assert (logits(model) - merged).abs().mean() < 0.2 * (logits(model) - untrained).abs().mean()


def test_nothing_temporary_is_left(run, llama, as_input):
    adapted = as_input(run("lora", llama, rank=2, job={"steps": 1}).checkpoint)
    ran = run("int8", adapted)
    assert [path.name for path in ran.job.output.iterdir()] == ["model"]


def test_a_model_that_does_not_hold_what_was_asked_for_is_refused(make_job, llama):
    lying = bitsandbytes(eight_bit(6.0).options, "nf4")
    with pytest.raises(StepError, match=r"asked for nf4 layers, found \{'int8': 14\}"):
        quantize(make_job(llama), lying)


def test_a_model_in_which_nothing_was_quantised_is_refused(make_job, llama):
    names = [f"{name}_proj" for name in ("q", "k", "v", "o", "gate", "up", "down")]
    recipe = bitsandbytes({**eight_bit(6.0).options, "llm_int8_skip_modules": [*names, "lm_head"]}, "int8")
    with pytest.raises(StepError, match="asked for int8 layers, found none"):
        quantize(make_job(llama), recipe)


def test_on_a_gpt2_shape(run, gpt2, open_live, logits):
    made = run("int8", gpt2).checkpoint
    model = open_live(made)
    assert describe_model(model)["quantized_layers"] == {"int8": 8}
    assert 0 < (logits(model) - logits(open_live(gpt2))).abs().mean() < 0.1


@pytest.mark.parametrize(("precision", "held"), [("fp32", "float32"), ("bf16-mixed", "float32"), ("bf16", "bfloat16")])
def test_the_rest_is_computed_in_the_cells_precision(run, llama, gpt2, open_live, precision, held):
    """transformers leaves it in the stored 16 bits, which would pass bfloat16 products off as fp32."""
    for given in (llama, gpt2):
        model = open_live(run("int8", given, job={"precision": precision}).checkpoint, precision)
        plain = {str(p.dtype) for p in model.parameters() if p.is_floating_point() and not hasattr(p, "quant_state")}
        assert plain == {f"torch.{held}"}
