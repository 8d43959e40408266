"""Attention kernels that are asked for: what a GPU's do not take is not given to them, and nothing else changes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from harness.contract import Hardware, TrainingSetup
from harness.errors import StepError
from harness.models.loading import load_model
from harness.plan.expression import parse_call
from harness.training import kernels, loop

SETUP = TrainingSetup(1e-3, "constant", 0.0, "adamw", 0.0, 1.0, 4, 4, 4, 64, 0, "fp32", attention="sdpa")

FLASH, EFFICIENT = "FLASH_ATTENTION", "EFFICIENT_ATTENTION"


def batch(side="right"):
    """Two sequences, of which the second is padded."""
    ids = torch.arange(5, 29).reshape(2, 12)
    mask = torch.ones_like(ids)
    padding = slice(7, None) if side == "right" else slice(0, 5)
    ids[1, padding], mask[1, padding] = 0, 0
    return {"input_ids": ids, "attention_mask": mask, "labels": torch.where(mask == 1, ids, -100)}


def with_kernel(name):
    return replace(SETUP, attention_kernel=name)


@pytest.fixture
def as_on_a_gpu(monkeypatch):
    """Attention that refuses what CUDA's kernels refuse where they alone may run, and notes what it was given."""
    real, given = functional.scaled_dot_product_attention, []

    def attend(query, key, value, attn_mask=None, **options):
        if not torch.backends.cuda.math_sdp_enabled():
            given.append({"mask": attn_mask is not None, "shared": key.shape[1] < query.shape[1]})
            flash = torch.backends.cuda.flash_sdp_enabled()
            if (attn_mask is not None) if flash else options.get("enable_gqa", False):
                raise RuntimeError("No available kernel. Aborting execution.")
        with sdpa_kernel(SDPBackend.MATH):
            return real(query, key, value, attn_mask=attn_mask, **options)

    monkeypatch.setattr(functional, "scaled_dot_product_attention", attend)
    called = kernels.attention_kernel
    monkeypatch.setattr(loop, "attention_kernel", lambda setup, device, *rest: called(setup, "cuda", *rest))
    return given


def loss_and_gradients(model, inputs):
    model.zero_grad()
    loss = model(**inputs).loss
    loss.backward()
    return loss.item(), {name: value.grad.clone() for name, value in model.named_parameters()}


@pytest.mark.parametrize("start", ["llama", "gpt2"])
def test_without_the_mask_of_right_padding_loss_and_gradients_are_the_same(start, request):
    model = load_model(request.getfixturevalue(start), "fp32", Hardware(threads=1)).train()
    loss, gradients = loss_and_gradients(model, batch())
    seen = []
    with kernels.attention_kernel(with_kernel(FLASH), "cuda", "causal", [model]):
        handle = model.register_forward_pre_hook(lambda *a: seen.append(a[2]["attention_mask"]), with_kwargs=True)
        without, others = loss_and_gradients(model, batch())
        handle.remove()
    assert seen == [None]
    assert without == pytest.approx(loss, rel=1e-6)
    for name, gradient in gradients.items():
        torch.testing.assert_close(others[name], gradient, rtol=1e-4, atol=1e-6)
    assert loss_and_gradients(model, batch())[0] == loss, "afterwards masks are read again"


@pytest.mark.parametrize("technique", ["full_finetune", "lora", "sft", "reward_model", "dpo", "dpo(rank=2)"])
def test_flash_trains_on_padded_batches_as_every_kernel_does(run, llama, technique, as_on_a_gpu):
    call = parse_call(technique)
    job = {"steps": 3, "sequence_length": 128}
    plain = run(call.name, llama, job=job, **dict(call.params))
    assert not as_on_a_gpu
    flash = run(call.name, llama, job={**job, "modifiers": ["flash_attention(kernel=flash)"]}, **dict(call.params))
    assert as_on_a_gpu and not any(one["mask"] for one in as_on_a_gpu)
    assert flash.losses == pytest.approx(plain.losses, rel=1e-4)
    assert flash.meter.steps == plain.meter.steps
    assert any(step["nonpadding_tokens"] < step["tokens"] for step in flash.meter.steps), "padding was counted"


def test_on_a_cpu_masks_are_left_alone(run, llama, monkeypatch):
    monkeypatch.setattr(kernels, "without_masks", lambda *given: pytest.fail("a CPU's kernel takes masks"))
    assert run("lora", llama, job={"steps": 1, "modifiers": ["flash_attention(kernel=flash)"]}).losses


def test_a_validation_reads_its_masks(llama):
    model = load_model(llama, "fp32", Hardware(threads=1)).eval()
    expected = model(**batch("left")).logits
    setup = with_kernel(FLASH)
    with kernels.attention_kernel(setup, "cuda", "causal", [model]), kernels.any_kernel(setup):
        torch.testing.assert_close(model(**batch("left")).logits, expected)


@pytest.mark.parametrize(
    ("start", "kind", "side", "said"),
    [("llama", "causal", "left", "padding on the left"),
     ("bert", "masked", "right", "a padded batch of a masked model")],
)  # fmt: skip
def test_what_needs_its_mask_is_refused_and_not_trained_wrongly(start, kind, side, said, request):
    model = load_model(request.getfixturevalue(start), "fp32", Hardware(threads=1)).train()
    with (
        kernels.attention_kernel(with_kernel(FLASH), "cuda", kind, [model]),
        pytest.raises(StepError, match=f"kernel=flash takes no mask on a GPU, which {said}"),
    ):
        model(**batch(side))


def test_full_batches_of_an_encoder_run(bert, as_on_a_gpu):
    model = load_model(bert, "fp32", Hardware(threads=1)).train()
    full = {"input_ids": batch()["input_ids"], "attention_mask": torch.ones(2, 12, dtype=torch.long)}
    with kernels.attention_kernel(with_kernel(FLASH), "cuda", "masked", [model]):
        model(**full)
    assert as_on_a_gpu and not any(one["mask"] for one in as_on_a_gpu)


@pytest.mark.parametrize("technique", ["clm", "full_finetune"])
def test_the_memory_efficient_kernel_is_given_a_key_for_every_query(run, llama, technique, as_on_a_gpu):
    job = {"steps": 2, "sequence_length": 64}
    plain = run(technique, llama, job=job)
    ran = run(technique, llama, job={**job, "modifiers": ["flash_attention(kernel=memory_efficient)"]})
    assert as_on_a_gpu and not any(one["shared"] for one in as_on_a_gpu)
    assert ran.losses == pytest.approx(plain.losses, rel=1e-4)


def test_sharing_of_heads_is_given_back():
    from transformers.integrations import sdpa_attention

    before = sdpa_attention.use_gqa_in_sdpa
    with pytest.raises(ZeroDivisionError), kernels.attention_kernel(with_kernel(EFFICIENT)):
        assert sdpa_attention.use_gqa_in_sdpa(None, torch.empty(1, 1, 1, 64), torch.empty(1, 1, 1, 64)) is False
        raise ZeroDivisionError
    assert sdpa_attention.use_gqa_in_sdpa is before


@pytest.fixture
def cudnn(monkeypatch):
    """What torch was told about cuDNN's attention."""
    told = []
    monkeypatch.setattr(torch.backends.cuda, "enable_cudnn_sdp", told.append)
    return told


@pytest.mark.parametrize(
    ("device", "kernel", "expected"), [("cuda", None, [False]), ("cuda", "MATH", []), ("cpu", None, [])]
)
def test_cudnns_attention_is_left_out_where_no_kernel_is_asked_for(make_job, llama, cudnn, device, kernel, expected):
    job = make_job(llama, hardware=Hardware(device))
    kernels.leave_out_cudnn(job, with_kernel(kernel))
    assert cudnn == expected
    assert job.meter.observed == ({"cudnn_attention": False} if expected else {})


@pytest.mark.parametrize("technique", ["lora", "sft"])
def test_every_training_asks_whether_to(run, llama, monkeypatch, technique):
    asked = []
    monkeypatch.setattr(loop, "leave_out_cudnn", lambda job, setup: asked.append(job.hardware.device))
    run(technique, llama, job={"steps": 1})
    assert asked == ["cpu"]
