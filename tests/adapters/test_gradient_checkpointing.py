"""``gradient_checkpointing``: the same numbers by more forward passes."""

from __future__ import annotations

import pytest


@pytest.fixture
def forward_passes(monkeypatch):
    """Counts how often the first decoder layer's feed-forward block runs while gradients are on or recomputed."""
    from transformers.models.llama.modeling_llama import LlamaMLP

    counted = []
    forward = LlamaMLP.forward
    monkeypatch.setattr(LlamaMLP, "forward", lambda self, x: counted.append(self.training) or forward(self, x))
    return counted


@pytest.mark.parametrize("technique", ["full_finetune", "lora", "clm"])
def test_losses_are_the_same_and_the_forward_pass_runs_twice(run, llama, forward_passes, technique):
    plain = run(technique, llama, job={"steps": 3})
    once = sum(forward_passes)
    forward_passes.clear()
    checkpointed = run(technique, llama, job={"steps": 3, "modifiers": ["gradient_checkpointing"]})
    assert checkpointed.losses == pytest.approx(plain.losses, rel=1e-5)
    assert sum(forward_passes) == 2 * once > 0
    assert checkpointed.meter.observed["setup"]["gradient_checkpointing"] is True
    assert plain.meter.observed["setup"]["gradient_checkpointing"] is False


def test_the_model_itself_is_switched(watched, llama):
    _, model, _ = watched("lora", llama, job={"steps": 1, "modifiers": ["gradient_checkpointing"]})
    assert model.is_gradient_checkpointing
    _, plain, _ = watched("lora", llama, job={"steps": 1})
    assert not plain.is_gradient_checkpointing


def test_over_a_4_bit_base_the_adapters_still_learn(run, llama):
    plain = run("qlora", llama, rank=2, job={"steps": 4})
    checkpointed = run("qlora", llama, rank=2, job={"steps": 4, "modifiers": ["gradient_checkpointing"]})
    assert checkpointed.losses == pytest.approx(plain.losses, rel=1e-4)
    assert checkpointed.losses[-1] != checkpointed.losses[0]


@pytest.mark.parametrize("start", ["llama", "t5"])
def test_a_head_switches_it_by_either_name_of_the_library(start, request):
    """transformers 5.17 calls ``gradient_checkpointing_enable``, later ones the other."""
    from harness.contract import Hardware
    from harness.models.loading import load_model
    from harness.models.pooled import below_head

    for name in ("gradient_checkpointing_enable", "activation_checkpointing_enable"):
        backbone = load_model(request.getfixturevalue(start), "fp32", Hardware(threads=1), headless=True)
        model = below_head(backbone, "fp32", {"view": "labels", "classes": ["a", "b"], "length": 8})
        assert not backbone.is_gradient_checkpointing
        getattr(model, name)()
        assert backbone.is_gradient_checkpointing
