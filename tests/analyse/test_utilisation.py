"""The peaks that a training's FLOPs are compared with."""

from __future__ import annotations

import pandas
import pytest

from harness.analyse.utilisation import PRODUCT_FLOPS, measured_peak, published_peak


def test_the_peak_is_that_of_the_fastest_canary_of_the_precision():
    rows = pandas.DataFrame(
        [("canary_matmul_seconds", None, 0.02), ("canary_matmul_seconds", None, 0.01),
         ("canary_matmul_seconds", 0, 0.001), ("canary_bf16_matmul_seconds", None, 0.005)],
        columns=["metric", "sample", "value"],
    )  # fmt: skip
    assert measured_peak(rows, "fp32") == pytest.approx(2 * 768**3 / 0.01) == PRODUCT_FLOPS / 0.01
    assert measured_peak(rows, "bf16-mixed") == measured_peak(rows, "bf16") == PRODUCT_FLOPS / 0.005
    assert measured_peak(rows[:0], "fp32") is None


def test_a_gpu_s_peak_is_that_of_its_own_canary():
    rows = pandas.DataFrame(
        [("canary_bf16_matmul_seconds", None, 0.005), ("canary_gpu_bf16_matmul_seconds", None, 0.0014)],
        columns=["metric", "sample", "value"],
    )  # fmt: skip
    assert measured_peak(rows, "bf16-mixed", "cuda") == pytest.approx(2 * 8192**3 / 0.0014)
    assert measured_peak(rows, "fp32", "cuda") is None


def test_a_gpu_has_its_makers_figure_or_none():
    assert published_peak("NVIDIA H100 80GB HBM3", "bf16-mixed") == 989.4e12
    assert published_peak("NVIDIA H100 80GB HBM3", "fp32") == 67e12
    assert published_peak("Some other card", "fp32") is None
