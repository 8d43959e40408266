"""The canary: a fixed matrix product and memory copy at both ends of a sweep. When it moved, the machine moved.

Runs inside a worker like any operation, with that worker's threads and device.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

from harness.run.meter import Meter

SIZE = 768
COPY_BYTES = 64 * 2**20
REPEATS = 15
WARMUP = 3


def measure(meter: Meter) -> None:
    """Time products of two matrices of ``SIZE`` and a copy of ``COPY_BYTES`` on the CPU; medians in seconds."""
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
            samples = _timed(work)
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
