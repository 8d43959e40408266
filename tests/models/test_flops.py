"""Model FLOPs against what torch's own counter sees in a forward pass, and against PaLM's formula."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from harness.models.architectures import ARCHITECTURES, auto_class, configuration
from harness.models.flops import forward_cost

SIZES = {"hidden_size": 64, "intermediate_size": 96, "layers": 3, "heads": 4, "kv_heads": 2, "vocab_size": 120}


def model_of(name):
    return auto_class(ARCHITECTURES[name]).from_config(configuration({"architecture": name, **SIZES}))


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_torch_counts_the_same(name):
    model = model_of(name).eval()
    model.set_attn_implementation("eager")  # the fused kernels count the same products, where torch knows them
    inputs = {"input_ids": torch.ones(2, 20, dtype=torch.long), "attention_mask": torch.ones(2, 20, dtype=torch.long)}
    target = 0
    if ARCHITECTURES[name] == "seq2seq":
        target = 7
        inputs["decoder_input_ids"] = torch.ones(2, target, dtype=torch.long)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(**inputs)
    assert forward_cost(model).flops(2, 20, target) == counter.get_total_flops()


def test_a_decoder_costs_what_palm_says():
    """6 N + 12 L H Q T per token of training, N with the output layer and without norms and input table."""
    cost = forward_cost(model_of("llama"))
    layer = 64 * 64 + 2 * 64 * 32 + 64 * 64 + 3 * 64 * 96
    weights = 3 * layer + 64 * 120
    assert 3 * cost.flops(5, 32) == 5 * 32 * (6 * weights + 12 * 3 * 64 * 32)


def test_a_training_step_says_it(llama_run):
    """Blocks of 64 tokens over the tiny Llama."""
    weights = 2 * (64 * 64 + 2 * 64 * 32 + 64 * 64 + 3 * 64 * 128) + 64 * 300
    assert llama_run.meter.metrics["model_flops_per_token"] == 6 * weights + 12 * 2 * 64 * 64


def test_frozen_weights_have_no_such_count(run, llama):
    assert "model_flops_per_token" not in run("lora", llama, job={"steps": 1}).meter.metrics
