"""``int4``: NF4 or FP4 codes in blocks of 64, counted to the byte."""

from __future__ import annotations

import bitsandbytes
import pytest
import torch

from harness.errors import StepError
from harness.models.inspect import describe_model, safetensors_header, weight_bytes

LINEAR_LAYERS = 14
LINEAR_WEIGHTS = 2 * (64 * 64 + 2 * 32 * 64 + 64 * 64 + 3 * 64 * 128)


def stored(checkpoint, ending):
    """Bytes and types of the stored tensors whose name ends so."""
    header = safetensors_header(checkpoint.parts["model"] / "model.safetensors")
    chosen = [item for name, item in header.items() if name.endswith(ending)]
    size = sum(item["data_offsets"][1] - item["data_offsets"][0] for item in chosen)
    return size, {item["dtype"] for item in chosen}


@pytest.fixture(scope="module")
def compressed(run, llama):
    return {
        (kind, double): run("int4", llama, quant_type=kind, double_quant=double)
        for kind, double in (("nf4", False), ("fp4", False), ("nf4", True))
    }


@pytest.mark.parametrize(("kind", "double"), [("nf4", False), ("fp4", False), ("nf4", True)])
def test_the_type_asked_for_is_in_the_opened_model(compressed, open_live, kind, double):
    ran = compressed[kind, double]
    found = describe_model(open_live(ran.checkpoint))
    storage = kind + ("+double" if double else "")
    assert found["quantized_layers"] == {storage: LINEAR_LAYERS}
    assert found["layer_classes"]["Linear4bit"] == LINEAR_LAYERS
    assert found["parameters"] == LINEAR_WEIGHTS + 300 * 64 + 5 * 64
    assert ran.meter.metrics["parameters"] == found["parameters"]


@pytest.mark.parametrize("kind", ["nf4", "fp4"])
def test_a_weight_takes_half_a_byte_and_a_scale_per_64(compressed, kind):
    made = compressed[kind, False].checkpoint
    assert stored(made, "_proj.weight") == (LINEAR_WEIGHTS // 2, {"U8"})
    assert stored(made, ".weight.absmax") == (LINEAR_WEIGHTS // 64 * 4, {"F32"})


def test_double_quantisation_shrinks_the_scales(compressed):
    made = compressed["nf4", True].checkpoint
    assert stored(made, ".weight.absmax") == (LINEAR_WEIGHTS // 64, {"U8"})
    scales = sum(stored(compressed["nf4", double].checkpoint, ".absmax")[0] for double in (False,))
    assert scales == 4 * stored(made, ".weight.absmax")[0]


def test_a_real_size_is_smaller_than_8_bits(run, llama, compressed):
    assert weight_bytes(compressed["nf4", False].checkpoint) < weight_bytes(run("int8", llama).checkpoint)


@pytest.mark.parametrize("precision", ["fp32", "bf16-mixed"])
def test_the_rest_is_stored_in_16_bits_whatever_the_precision(run, llama, precision):
    made = run("int4", llama, job={"precision": precision}).checkpoint
    assert stored(made, "embed_tokens.weight") == (2 * 300 * 64, {"BF16"})
    assert stored(made, "norm.weight") == (2 * 5 * 64, {"BF16"})


def test_the_code_books_differ_and_both_cost_more_than_8_bits(run, compressed, llama, open_live, logits):
    base = logits(open_live(llama))
    moved = {key: (logits(open_live(ran.checkpoint)) - base).abs().mean().item() for key, ran in compressed.items()}
    eight = (logits(open_live(run("int8", llama).checkpoint)) - base).abs().mean().item()
    assert min(moved.values()) > 2 * eight > 0
    assert len(set(moved.values())) == len(moved), "each code book and each way of keeping the scales is its own"


def test_normal_floats_suit_normally_distributed_weights():
    """What NF4 is made for (Dettmers et al. 2023): on a normal sample its codes lie closer than FP4's."""
    weights = torch.randn(64, 1024, generator=torch.Generator().manual_seed(0))
    error = {}
    for kind in ("nf4", "fp4"):
        codes, state = bitsandbytes.functional.quantize_4bit(weights, blocksize=64, quant_type=kind)
        error[kind] = (bitsandbytes.functional.dequantize_4bit(codes, state) - weights).square().mean().item()
    assert error["nf4"] < 0.8 * error["fp4"]


def test_another_quantisation_is_never_passed_off_as_this_one(run, llama, as_input):
    eight = as_input(run("int8", llama).checkpoint)
    with pytest.raises(StepError) as caught:
        run("int4", eight)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("precision", "held"), [("fp32", "float32"), ("bf16-mixed", "float32"), ("bf16", "bfloat16")])
def test_the_rest_is_computed_in_the_cells_precision(run, llama, gpt2, open_live, precision, held):
    """transformers leaves it in the stored 16 bits, which would pass bfloat16 products off as fp32."""
    for given in (llama, gpt2):
        model = open_live(run("int4", given, job={"precision": precision}).checkpoint, precision)
        plain = {str(p.dtype) for p in model.parameters() if p.is_floating_point() and not hasattr(p, "quant_state")}
        assert plain == {f"torch.{held}"}
