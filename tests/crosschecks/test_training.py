"""Training against a loop that was written by hand: the same losses step by step, and as much memory."""

from __future__ import annotations

import statistics

import pytest
import torch
from crosschecks import plain_loop
from crosschecks.trainings import BATCH, LENGTH, by_hand, by_harness

from harness.contract import Hardware
from harness.models.loading import load_model, load_tokenizer

pytestmark = pytest.mark.quiet

STEPS = 12


@pytest.mark.parametrize(("texts", "seed", "steps"), [("tiny_data", 0, 6), ("few_data", 7, 14)])
def test_the_losses_are_those_of_a_plain_loop(run, llama, request, texts, seed, steps):
    """The few texts are read more than once, each time in another order and with a smaller batch at the end."""
    data = request.getfixturevalue(texts)
    job = {"seed": seed, "steps": steps, "data": data, "batch_size": 5}
    ran = run("clm", llama, optimizer="adamw", learning_rate=3e-3, job=job)
    blocks = plain_loop.blocks_of(load_tokenizer(llama), data.view("text", "train"), 64)
    again = steps * 5 > len(blocks)
    assert again == (texts == "few_data") and (not again or len(blocks) % 5)
    losses, _ = plain_loop.train(load_model(llama, "fp32", Hardware()).train(), blocks, steps, 5, 3e-3, seed)
    assert ran.losses == pytest.approx(losses, rel=1e-4)
    assert ran.losses[:5] == pytest.approx(losses[:5], rel=1e-5)


def test_the_order_and_the_rates_matter_to_the_comparison(llama, tiny_data):
    """What the two are compared by would tell another seed and another rate."""
    blocks = plain_loop.blocks_of(load_tokenizer(llama), tiny_data.view("text", "train"), 64)

    def losses(rate, seed):
        return plain_loop.train(load_model(llama, "fp32", Hardware()).train(), blocks, 5, 4, rate, seed)[0]

    plain = losses(3e-3, 0)
    assert losses(3e-3, 1) != pytest.approx(plain, rel=1e-3) and losses(2e-3, 0) != pytest.approx(plain, rel=1e-5)


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    folder = tmp_path_factory.mktemp("both")
    return by_harness(folder / "harness", STEPS, 1), by_hand(folder / "hand", STEPS, 1)


@pytest.mark.slow
def test_whole_processes_give_the_same_losses(both):
    ours, plain = both
    assert len(ours.losses) == STEPS and ours.losses == pytest.approx(plain.losses, rel=1e-4)


@pytest.mark.slow
def test_whole_processes_take_as_much_memory(both):
    """Within a fifth: both heaps keep what they were given back in pieces of their own. Weights, gradients and AdamW's
    state are 46 MB of it, logits and activations of 8 x 128 tokens the rest."""
    ours, plain = both
    weights = 4 * 2_900_000
    logits = 4 * BATCH * LENGTH * 2048
    assert plain.rise_bytes > 4 * weights + logits
    assert 0.8 < ours.rise_bytes / plain.rise_bytes < 1.2


@pytest.mark.slow
def test_every_step_was_timed(both):
    ours, plain = both
    assert len(ours.seconds) == len(plain.seconds) == STEPS
    assert statistics.median(ours.seconds) > 0 and torch.tensor(ours.seconds).isfinite().all()
