"""Exponents, ratios of medians, and from which size something pays, against values that are known."""

from __future__ import annotations

import numpy
import pytest

from harness.analyse.scaling import begins_to_pay, power_law, ratio_of_medians
from harness.analyse.statistics import Interval

SIZES = [256, 512, 1024, 2048, 4096]


@pytest.mark.parametrize(("constant", "power"), [(0.0, 1.0), (5.0, 2.0), (100.0, 1.5)])
def test_a_power_law_is_found_under_a_constant(constant, power):
    found = power_law(SIZES, [constant + 3e-4 * size**power for size in SIZES])
    assert found.exponent == pytest.approx(power, abs=0.01) and found.error < 1e-3


def test_a_sum_of_a_line_and_a_square_lies_between():
    assert 1 < power_law(SIZES, [size + size**2 / 1024 for size in SIZES]).exponent < 2


def test_what_follows_no_power_or_has_too_few_sizes_has_none():
    assert power_law(SIZES[:3], [1, 2, 4]) is None
    assert power_law(SIZES, [1.0, 1.0, 1.0, 1.0, 9.0]) is None, "the best exponent is an end of the grid"


def test_a_ratio_of_medians_and_its_interval_by_hand():
    generator = numpy.random.default_rng(1)
    slow, fast = generator.normal(2.0, 0.1, 200), generator.normal(1.0, 0.05, 200)
    found = ratio_of_medians(slow, fast)
    assert found.estimate == pytest.approx(numpy.median(slow) / numpy.median(fast))
    # The standard error of a median of n normal values is 1.2533 sigma / sqrt(n).
    error = found.estimate * 1.2533 * 0.05 * 2**0.5 / 200**0.5
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.25)
    assert ratio_of_medians([1.0], [1.0, 2.0]) is None


def test_it_begins_to_pay_where_no_larger_size_is_in_doubt():
    def ratio(low, high):
        return Interval((low + high) / 2, low, high, 9, "repeats")

    below, above, unsure = ratio(0.5, 0.9), ratio(1.1, 1.3), ratio(0.8, 1.1)
    assert begins_to_pay({256: above, 512: unsure, 1024: below, 2048: below}) == 1024
    assert begins_to_pay({256: below, 512: above, 1024: below}) == 1024
    assert begins_to_pay({256: below, 512: below}) == 256
    assert begins_to_pay({256: below, 512: unsure}) is None and begins_to_pay({}) is None
