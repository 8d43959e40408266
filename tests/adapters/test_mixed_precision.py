"""``mixed_precision``: 16-bit products over 32-bit weights and state; fp16 with its loss scaled."""

from __future__ import annotations

import pytest
import torch

from harness.adapters.efficiency.mixed_precision import MixedPrecision
from harness.contract import Budget, TrainingParams
from harness.errors import UsageError
from harness.training.setup import plain_setup


@pytest.fixture
def products(monkeypatch):
    """Types in which the feed-forward blocks of a Llama really multiply."""
    from transformers.models.llama.modeling_llama import LlamaMLP

    seen = set()
    forward = LlamaMLP.forward

    def watch(self, x):
        out = forward(self, x)
        seen.add(str(out.dtype).removeprefix("torch."))
        return out

    monkeypatch.setattr(LlamaMLP, "forward", watch)
    return seen


@pytest.mark.parametrize(
    ("precision", "multiplied", "kept"),
    [("fp32", "float32", "float32"), ("bf16-mixed", "bfloat16", "float32"), ("fp16-mixed", "float16", "float32"),
     ("bf16", "bfloat16", "bfloat16"), ("fp16", "float16", "float16")],
)  # fmt: skip
def test_what_multiplies_and_what_is_kept(run, llama, products, precision, multiplied, kept):
    ran = run("full_finetune", llama, job={"steps": 3, "precision": precision})
    assert products == {multiplied}
    learnt = ran.meter.observed["learnt_in"]
    assert set(learnt["weights"]) == set(learnt["optimizer_state"]) == {kept}
    assert sum(learnt["optimizer_state"].values()) == 2 * sum(learnt["weights"].values()), "AdamW keeps two moments"


@pytest.mark.parametrize("dtype", ["bf16", "fp16"])
def test_losses_are_near_those_of_fp32_and_not_the_same(run, llama, dtype):
    plain = run("full_finetune", llama, job={"steps": 6})
    mixed = run("full_finetune", llama, job={"steps": 6, "modifiers": [f"mixed_precision(dtype={dtype})"],
                                              "precision": f"{dtype}-mixed"})  # fmt: skip
    assert mixed.losses == pytest.approx(plain.losses, rel=0.02)
    assert mixed.losses != plain.losses


@pytest.mark.slow
def test_overflows_are_counted_and_leave_the_weights_alone(run, llama, monkeypatch):
    scaler = torch.amp.GradScaler
    monkeypatch.setattr(torch.amp, "GradScaler", lambda device: scaler(device, init_scale=2.0**24))
    job = {"steps": 14, "batch_size": 120, "precision": "fp16-mixed"}
    ran = run("full_finetune", llama, job=job, warmup_share=0.0)
    overflows = int(ran.meter.metrics["overflow_steps"])
    assert 2 <= overflows < 14, "each halves the scale until nothing overflows"
    same = ran.losses[: overflows + 1]
    assert same == pytest.approx([same[0]] * len(same), rel=1e-4), "the same examples, the same weights"
    assert ran.losses[-1] < 0.98 * same[0]


def test_no_overflow_is_zero_and_other_precisions_say_nothing(run, llama):
    assert run("full_finetune", llama, job={"steps": 2, "precision": "fp16-mixed"}).meter.metrics["overflow_steps"] == 0
    assert "overflow_steps" not in run("full_finetune", llama, job={"steps": 2}).meter.metrics


def test_a_contradiction_is_refused():
    setup = plain_setup(TrainingParams(), Budget(steps=1), "bf16", 1)
    with pytest.raises(UsageError, match="dtype=fp16 contradicts the precision bf16"):
        MixedPrecision(MixedPrecision.Params(dtype="fp16")).modify(setup)
