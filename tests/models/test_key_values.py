"""Bytes of the key-value cache: of the live tensors, by hand, and where something else is kept."""

from __future__ import annotations

import pytest
import torch
from transformers import DynamicCache

from harness.contract import Checkpoint, NoParams
from harness.models.causal import open_scorer
from harness.models.key_values import key_values_of

BATCH, PROMPT, NEW = 3, 20, 6
READ = BATCH * (PROMPT + NEW - 1)  # the last new token is never read
PROMPTS = [[row + 1] * PROMPT for row in range(BATCH)]


def kept(checkpoint: Checkpoint, make_job, precision: str = "fp32"):
    scorer = open_scorer(make_job(checkpoint, params=NoParams(), precision=precision))
    assert scorer.key_values is None
    scorer.generate(PROMPTS, NEW, lambda tokens: None)
    return scorer.key_values


def test_grouped_heads_of_a_llama_by_hand(llama, make_job):
    """2 layers, 2 of 4 heads have keys and values, 16 wide, 4 bytes."""
    found = kept(llama, make_job)
    assert found.positions == READ
    assert found.held_bytes == found.expected_bytes == 2 * 2 * 2 * 16 * READ * 4


def test_a_gpt2_has_keys_and_values_of_every_head(gpt2, make_job):
    found = kept(gpt2, make_job)
    assert found.held_bytes == found.expected_bytes == 2 * 2 * 4 * 16 * READ * 4


def test_in_16_bits_it_is_half(llama, make_job):
    found = kept(llama, make_job, "bf16")
    assert found.held_bytes == found.expected_bytes == 2 * 2 * 2 * 16 * READ * 2


def test_autocast_keeps_32_bits(llama, make_job):
    """Keys leave the rotation of positions in 32 bits under autocast, and the cache takes values into their type."""
    found = kept(llama, make_job, "bf16-mixed")
    assert found.expected_bytes == 2 * 2 * 2 * 16 * READ * 2
    assert found.held_bytes == 2 * found.expected_bytes


def test_adapters_and_a_prefix(run, llama, as_input, make_job):
    """Vectors of a prefix lie in the cache of every prompt."""
    adapted = as_input(run("lora", llama, rank=2, job={"steps": 1}).checkpoint)
    assert kept(adapted, make_job) == kept(llama, make_job)
    prefixed = as_input(run("prefix_tuning", llama, prefix_length=5, job={"steps": 1}).checkpoint)
    found = kept(prefixed, make_job)
    assert found.positions == READ + BATCH * 5 and found.held_bytes == 2 * 2 * 2 * 16 * found.positions * 4


def test_memory_that_two_tensors_look_into_counts_once(llama, open_live):
    cache = DynamicCache()
    both = torch.zeros(1, 2, 7, 32)
    cache.update(both[..., :16], both[..., 16:], 0)
    cache.layers[0].keys, cache.layers[0].values = both[..., :16], both[..., 16:]
    found = key_values_of(cache, open_live(llama).config, 1, "fp32")
    assert found.held_bytes == both.nbytes and found.positions == 7


@pytest.mark.parametrize("nothing", [None, DynamicCache(), object()])
def test_where_nothing_is_kept_nothing_is_said(nothing, llama, open_live):
    assert key_values_of(nothing, open_live(llama).config, 1, "fp32") is None


def test_autocast_keeps_16_bits_where_nothing_is_rotated(gpt2, make_job):
    found = kept(gpt2, make_job, "bf16-mixed")
    assert found.held_bytes == found.expected_bytes
