"""``flash_attention``: the kernel that was named ran, and gave what every other one gives."""

from __future__ import annotations

import pytest
import torch

from harness.adapters.efficiency.flash_attention import KERNELS, FlashAttention
from harness.contract import Hardware

# What torch's profiler sees of each kernel on a CPU.
SEEN = {
    "eager": set(), "math": {"aten::_scaled_dot_product_attention_math"},
    "flash": {"aten::_scaled_dot_product_flash_attention_for_cpu"},
}  # fmt: skip
EVERY = set().union(*SEEN.values())


def trained(run, start, kernel, technique="clm", **job):
    job = {"steps": 3, "sequence_length": 64, "modifiers": [f"flash_attention(kernel={kernel})"], **job}
    return run(technique, start, job=job)


@pytest.mark.parametrize("kernel", sorted(SEEN))
def test_the_kernel_that_was_named_is_the_one_that_ran(run, llama, kernel):
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        ran = trained(run, llama, kernel)
    seen = {event.key for event in profile.key_averages()} & EVERY
    assert seen == SEEN[kernel]
    assert ran.meter.observed["model"]["attention"] == KERNELS[kernel][0]


@pytest.mark.parametrize("model", ["llama", "gpt2", "bert"])
def test_losses_are_the_same_whatever_computes_attention(run, model, request):
    start, technique = request.getfixturevalue(model), "mlm" if model == "bert" else "clm"
    plain = run(technique, start, job={"steps": 3, "sequence_length": 64}).losses
    for kernel in SEEN:
        assert trained(run, start, kernel, technique).losses == pytest.approx(plain, rel=1e-4), kernel


def test_it_composes_with_padding_adapters_and_checkpointing(run, llama):
    both = ["flash_attention(kernel=flash)", "gradient_checkpointing", "gradient_accumulation(steps=2)"]
    plain = run("qlora", llama, job={"steps": 3, "batch_size": 4})
    together = run("qlora", llama, job={"steps": 3, "batch_size": 4, "modifiers": both})
    assert together.losses == pytest.approx(plain.losses, rel=1e-3)


def test_what_cannot_run_here_says_why():
    cpu, cuda = Hardware(), Hardware("cuda")

    def why(kernel, precision, where):
        return FlashAttention(FlashAttention.Params(kernel=kernel)).skip(precision, where)

    assert why("memory_efficient", "fp32", cpu) == "kernel=memory_efficient runs on GPUs alone"
    assert why("flash_attn", "bf16", cpu) == "kernel=flash_attn runs on GPUs alone"
    assert "flash-attn" in why("flash_attn", "bf16", cuda)
    assert "computes in 16 bits on GPUs" in why("flash", "fp32", cuda)
    assert why("flash", "fp32", cpu) is why("math", "fp32", cuda) is None
