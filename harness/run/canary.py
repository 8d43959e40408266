"""The canary: a fixed matrix product and memory copy at both ends of a sweep. When it moved, the machine moved.

Runs inside a worker like any operation, with that worker's threads and device. What the products reach is what model
FLOPs utilisation is taken against.
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable
from typing import Any

from harness.run.meter import Meter

SIZE = 768
COPY_BYTES = 64 * 2**20
# Large enough to fill the largest GPUs: a product of this size in bfloat16 takes milliseconds there.
GPU_SIZE = 8192
GPU_COPY_BYTES = 2**30
REPEATS = 15
WARMUP = 3


def measure(meter: Meter, device: str = "cpu") -> None:
    """Time products of two matrices and a copy, on the CPU and on the GPU of ``device``; medians in seconds."""
    with meter.span("import"):
        import torch
    meter.libraries_loaded()
    with meter.span("canary"):
        left = torch.ones(SIZE, SIZE) / 3
        block = torch.zeros(COPY_BYTES, dtype=torch.uint8)
        target = torch.empty_like(block)
        product = torch.empty(SIZE, SIZE)
        half, half_product = left.bfloat16(), product.bfloat16()
        for name, work in (
            ("canary_matmul_seconds", lambda: torch.mm(left, left, out=product)),
            ("canary_bf16_matmul_seconds", lambda: torch.mm(half, half, out=half_product)),
            ("canary_copy_seconds", lambda: target.copy_(block)),
        ):
            _tell(meter, name, _timed(work))
    if device == "cuda":
        with meter.span("canary_gpu"):
            _on_gpu(meter, torch)


def _on_gpu(meter: Meter, torch: Any) -> None:
    """The same on the GPU, on random numbers: zeros take less power and run faster than any real product."""
    generator = torch.Generator("cuda").manual_seed(0)
    left = torch.randn(GPU_SIZE, GPU_SIZE, device="cuda", generator=generator)
    product = torch.empty_like(left)
    half, half_product = left.bfloat16(), product.bfloat16()
    block = torch.randint(256, (GPU_COPY_BYTES,), dtype=torch.uint8, device="cuda", generator=generator)
    target = torch.empty_like(block)
    allowed, torch.backends.cuda.matmul.allow_tf32 = torch.backends.cuda.matmul.allow_tf32, False
    for name, work in (
        ("canary_gpu_matmul_seconds", lambda: torch.mm(left, left, out=product)),
        ("canary_gpu_bf16_matmul_seconds", lambda: torch.mm(half, half, out=half_product)),
        ("canary_gpu_copy_seconds", lambda: target.copy_(block)),
    ):
        _tell(meter, name, _timed_on_gpu(torch, work))
    torch.backends.cuda.matmul.allow_tf32 = allowed


def _tell(meter: Meter, name: str, samples: list[float]) -> None:
    meter.sample(name, samples)
    meter.metric(name, statistics.median(samples))


def _timed(work: Callable[[], object]) -> list[float]:
    for _ in range(WARMUP):
        work()
    samples = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        work()
        samples.append(time.perf_counter() - began)
    return samples


def _timed_on_gpu(torch: Any, work: Callable[[], object]) -> list[float]:
    for _ in range(WARMUP):
        work()
    marks = [torch.cuda.Event(enable_timing=True) for _ in range(REPEATS + 1)]
    marks[0].record()
    for mark in marks[1:]:
        work()
        mark.record()
    torch.cuda.synchronize()
    return [before.elapsed_time(after) / 1000 for before, after in itertools.pairwise(marks)]
