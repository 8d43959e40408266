"""Model FLOPs utilisation: what a training's own arithmetic amounts to, over what the hardware can multiply.

MFU = model FLOPs per token x tokens per second / peak FLOP/s (Chowdhery et al. 2022, arXiv:2204.02311, appendix B). The
peak is what the sweep's canary, a plain matrix product in the type of the products, reached at its fastest on the
device; for a GPU whose canary was not measured it is its maker's dense figure.
"""

from __future__ import annotations

from collections.abc import Mapping

import pandas

from harness.run.canary import GPU_SIZE, SIZE

PRODUCT_FLOPS = 2 * SIZE**3
GPU_PRODUCT_FLOPS = 2 * GPU_SIZE**3
# FLOP/s of dense products, from the makers' data sheets; float32 without TF32.
PUBLISHED: Mapping[str, Mapping[str, float]] = {
    "H100": {"fp32": 67e12, "bf16": 989.4e12},
    "H200": {"fp32": 67e12, "bf16": 989.4e12},
    "A100": {"fp32": 19.5e12, "bf16": 312e12},
}
_CANARIES = {
    ("cpu", "fp32"): ("canary_matmul_seconds", PRODUCT_FLOPS),
    ("cpu", "bf16"): ("canary_bf16_matmul_seconds", PRODUCT_FLOPS),
    ("cuda", "fp32"): ("canary_gpu_matmul_seconds", GPU_PRODUCT_FLOPS),
    ("cuda", "bf16"): ("canary_gpu_bf16_matmul_seconds", GPU_PRODUCT_FLOPS),
}


def product_type(precision: str) -> str:
    """The type in which a precision multiplies matrices: ``fp32`` or ``bf16``."""
    return "fp32" if precision == "fp32" else "bf16"


def measured_peak(rows: pandas.DataFrame, precision: str, device: str = "cpu") -> float | None:
    """FLOP/s of the fastest canary among ``rows`` for this precision and device; None where none was measured."""
    name, flops = _CANARIES[device, product_type(precision)]
    seconds = rows.loc[(rows["metric"] == name) & rows["sample"].isna(), "value"].dropna()
    return flops / float(seconds.min()) if len(seconds) else None


def published_peak(device: str, precision: str) -> float | None:
    """FLOP/s of a GPU by its name, None where it is not listed."""
    return next((peaks[product_type(precision)] for name, peaks in PUBLISHED.items() if name in device), None)
