"""Activations by arithmetic against what autograd really saves, tensor by tensor."""

from __future__ import annotations

import contextlib

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from harness.memory.activations import Forward, Types, block_bytes, ends_bytes, head_bytes
from harness.memory.learning import AllWeights, LowRank
from harness.memory.shape import Shape, shape_of_sizes
from harness.models.architectures import ARCHITECTURES, auto_class, configuration

SIZES = {"layers": 2, "hidden_size": 96, "intermediate_size": 208, "heads": 6, "kv_heads": 3, "vocab_size": 320}
BATCH, LENGTH = 3, 80
KERNELS = {"flash": "sdpa", "eager": "eager", "math": "sdpa"}


def saved_bytes(model, precision, kernel):
    """Bytes of every storage that autograd keeps of a forward pass up to the logits, parameters left out."""
    own = {one.untyped_storage().data_ptr() for one in (*model.parameters(), *model.buffers())}
    kept = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = (storage.nbytes(), tensor)
        return tensor

    ids = torch.randint(3, SIZES["vocab_size"], (BATCH, LENGTH), generator=torch.Generator().manual_seed(0))
    given = {"decoder_input_ids": ids} if model.config.is_encoder_decoder else {}
    only = sdpa_kernel(SDPBackend.MATH) if kernel == "math" else contextlib.nullcontext()
    hooks = torch.autograd.graph.saved_tensors_hooks(keep, lambda one: one)
    cast = torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16-mixed")
    with only, hooks, cast:
        model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False, **given)
    return sum(size for size, _ in kept.values())


def by_arithmetic(shape: Shape, learning, precision, kernel):
    types = Types.of(precision)
    forward = Forward(types, kernel, lambda one: learning.keeps_input(one, shape), learning.norms)
    total = shape.layers * (block_bytes(shape, forward, LENGTH) + learning.added_bytes(shape, types, False))
    if shape.decoders:
        total += shape.decoders * block_bytes(shape, forward, LENGTH, decoder=True, memory=LENGTH)
    total += head_bytes(shape, forward, trains=learning.everything) + ends_bytes(shape, forward)
    dense = shape.hidden**2 if shape.family == "bert" else 0
    copies = 2 * (shape.linear_parameters() + shape.vocabulary * shape.hidden + dense)
    return total * BATCH * LENGTH + (copies if precision == "bf16-mixed" else 0)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("precision", ["fp32", "bf16", "bf16-mixed"])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_what_is_kept_is_what_is_counted(name, precision, kernel):
    spec = {"architecture": name, **SIZES}
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    options = {"attn_implementation": KERNELS[kernel], "dtype": dtype}
    model = auto_class(ARCHITECTURES[name]).from_config(configuration(spec), **options).train()
    counted = by_arithmetic(shape_of_sizes(spec), AllWeights(), precision, kernel)
    # T5's buckets of positions are counted nowhere: they are as large as one head's matrix, once for all blocks.
    assert counted == pytest.approx(saved_bytes(model, precision, kernel), rel=0.04 if name == "t5" else 0.02)


@pytest.mark.parametrize("targets", [None, "all-linear"])
@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_below_adapters_less_is_kept(name, targets):
    from peft import LoraConfig, get_peft_model

    spec = {"architecture": name, **SIZES}
    model = auto_class("causal").from_config(configuration(spec), dtype=torch.float32).train()
    whole = saved_bytes(model, "fp32", "flash")
    model.enable_input_require_grads()
    learning = LowRank(4, targets)
    adapted = get_peft_model(model, LoraConfig(r=4, target_modules=targets, task_type="CAUSAL_LM"))
    kept = saved_bytes(adapted, "fp32", "flash")
    shape = shape_of_sizes(spec)
    trained = sum(one.numel() for one in adapted.parameters() if one.requires_grad)
    assert learning.parameters(shape) == trained
    assert kept < whole
    assert by_arithmetic(shape, learning, "fp32", "flash") == pytest.approx(kept, rel=0.03)


def test_korthikantis_count_of_a_gpt_block_comes_out():
    """arXiv:2205.05198, eq. 1: (11 attention + 19 network + 4 norms) sbh + 5 as^2b in 16 bits, with dropout.

    Without dropout its masks go (2 sbh, as^2b), and what it gives of the softmax (2 as^2b): 32 sbh + 2 as^2b.
    transformers writes GELU in plain operations, which keep three more states of 4h at 2 bytes each.
    """
    shape = shape_of_sizes({"architecture": "gpt2", **SIZES, "intermediate_size": 4 * 96})
    forward = Forward(Types.of("bf16"), "eager", lambda one: True, True)
    h, a, s = shape.hidden, shape.heads, LENGTH
    statistics = 2 * 2 * 2  # mean and deviation of two norms, which the paper leaves out
    published = 32 * h + 2 * a * s + 3 * 2 * 4 * h
    assert block_bytes(shape, forward, LENGTH) == published + statistics
