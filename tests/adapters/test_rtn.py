"""``rtn``: codes by hand, bits counted to the byte, and the same model after saving and opening."""

from __future__ import annotations

import numpy
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import StepError
from harness.models.inspect import describe_model, safetensors_header
from harness.models.rounding import Grid, RoundedLinear, from_grid, pack, round_to_grid, unpack

LINEAR_LAYERS = 14
LINEAR_WEIGHTS = 2 * (64 * 64 + 2 * 32 * 64 + 64 * 64 + 3 * 64 * 128)
ROWS = 2 * (64 + 2 * 32 + 64 + 2 * 128 + 64)


@settings(deadline=None)
@given(st.integers(2, 8), st.lists(st.integers(0, 255), min_size=1, max_size=70))
def test_codes_come_back_from_a_stream_of_bits(bits, values):
    codes = torch.tensor([value % 2**bits for value in values], dtype=torch.uint8)
    packed = pack(codes, bits)
    assert len(packed) == -(-len(values) * bits // 8) and torch.equal(unpack(packed, bits, len(values)), codes)


@pytest.mark.parametrize("grid", [Grid(3, 16, True), Grid(4, None, False)], ids=["symmetric", "asymmetric"])
def test_a_layer_is_rounded_and_used_where_it_lies(grid):
    """Tensors of another device than the layer's are refused on ``meta`` as they are on a GPU."""
    with torch.device("meta"):
        layer = torch.nn.Linear(64, 3)
    rounded = RoundedLinear.of(layer, grid, "layer")
    assert {tensor.device.type for tensor in rounded.state_dict().values()} == {"meta"}
    assert rounded(torch.empty(2, 64, device="meta")).shape == (2, 3)


def test_the_first_codes_lie_in_the_lowest_bits():
    assert pack(torch.tensor([1, 2, 3], dtype=torch.uint8), 4).tolist() == [0x21, 0x03]


def test_a_symmetric_row_by_hand():
    """Largest 7.0 in 4 bits: the scale is 1, the code 8 stands for 0."""
    weight = torch.tensor([[7.0, -7.0, 0.4, 0.6, -3.5, 3.5]])
    codes, scales, zeros = round_to_grid(weight, Grid(4, None, True))
    assert scales.tolist() == [[1.0]] and zeros.tolist() == [[8]]
    assert codes.tolist() == [[15, 1, 8, 9, 4, 12]]  # halves go to the even one
    assert from_grid(codes, scales, zeros).tolist() == [[7.0, -7.0, 0.0, 1.0, -4.0, 4.0]]


def test_asymmetric_groups_by_hand():
    """From 0 to 15 and from -3 to 0 (0 is always within): steps of 1 and 0.2."""
    weight = torch.tensor([[5.0, 15.0, -3.0, -1.0]])
    codes, scales, zeros = round_to_grid(weight, Grid(4, 2, False))
    assert scales.tolist() == [[1.0, pytest.approx(0.2, rel=1e-3)]] and zeros.tolist() == [[0, 15]]
    assert codes.tolist() == [[5, 15, 0, 10]]


@settings(deadline=None, max_examples=40)
@given(st.integers(2, 8), st.sampled_from([None, 8, 16]), st.booleans(), st.integers(0, 9))
def test_no_weight_moves_by_more_than_half_a_step(bits, size, symmetric, seed):
    weight = torch.tensor(numpy.random.default_rng(seed).normal(size=(6, 32)), dtype=torch.float32)
    codes, scales, zeros = round_to_grid(weight, Grid(bits, size, symmetric))
    steps = scales.float().repeat_interleave(32 // scales.shape[1], 1)
    # The end of the range may be cut off by the scale's own rounding to 16 bits.
    allowed = 0.5 * steps + 2**bits * steps * 2**-10
    assert bool(((from_grid(codes, scales, zeros) - weight).abs() <= allowed).all())


@pytest.fixture(scope="module")
def compressed(run, llama):
    return {
        (bits, size, symmetric): run("rtn", llama, bits=bits, group_size=size, symmetric=symmetric)
        for bits, size, symmetric in ((8, None, True), (4, None, True), (4, 32, True), (3, 32, False))
    }


def test_what_is_opened_is_what_was_rounded(compressed, llama, open_live):
    plain = open_live(llama)
    ids = torch.arange(40)[None]
    with torch.no_grad():
        expected = plain(input_ids=ids).logits
        for (bits, size, symmetric), ran in compressed.items():
            model = open_live(ran.checkpoint)
            found = describe_model(model)
            assert found["quantized_layers"] == {f"rtn int{bits}": LINEAR_LAYERS}
            assert found["parameters"] == LINEAR_WEIGHTS + 300 * 64 + 5 * 64 == ran.meter.metrics["parameters"]
            by_hand = open_live(llama)
            for name, module in by_hand.named_modules():
                if isinstance(module, torch.nn.Linear) and name != "lm_head":
                    module.weight.data = from_grid(*round_to_grid(module.weight.data, Grid(bits, size, symmetric)))
            for parameter in by_hand.parameters():
                if parameter.ndim == 1 or parameter.shape[0] == 300:
                    parameter.data = parameter.data.bfloat16().float()
            assert torch.allclose(model(input_ids=ids).logits, by_hand(input_ids=ids).logits, atol=1e-5)
        near, far = (
            float((open_live(compressed[key].checkpoint)(input_ids=ids).logits - expected).abs().mean())
            for key in ((8, None, True), (4, None, True))
        )
    assert near < far / 5


@pytest.mark.parametrize(("bits", "size", "symmetric"), [(4, None, True), (4, 32, True), (3, 32, False)])
def test_bits_are_counted_to_the_byte(compressed, bits, size, symmetric):
    header = safetensors_header(compressed[bits, size, symmetric].checkpoint.parts["model"] / "model.safetensors")
    stored = {
        ending: sum(item["data_offsets"][1] - item["data_offsets"][0] for name, item in header.items()
                    if name.endswith(ending))
        for ending in (".packed", ".scales", ".zeros")
    }  # fmt: skip
    assert stored[".packed"] == LINEAR_WEIGHTS * bits // 8
    groups = LINEAR_WEIGHTS // size if size else ROWS
    assert stored[".scales"] == 2 * groups and stored[".zeros"] == (0 if symmetric else groups)


def test_a_group_that_does_not_divide_a_row_is_refused(run, llama):
    with pytest.raises(StepError, match=r"48 does not divide the 64 inputs of model\.layers\.0\.self_attn\.q_proj"):
        run("rtn", llama, group_size=48)


def test_it_rounds_what_lora_learnt_and_nothing_twice(run, llama, open_live):
    adapted = run("lora", llama, rank=4, job={"steps": 4}).checkpoint
    made = run("rtn", adapted).checkpoint
    assert "peft" not in made.parts
    assert describe_model(open_live(made))["quantized_layers"] == {"rtn int4": LINEAR_LAYERS}
    with pytest.raises(StepError, match="rtn int4 weights are quantised already"):
        run("rtn", made)
