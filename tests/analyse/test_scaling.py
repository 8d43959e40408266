"""Exponents, ratios of medians, and from which size something pays, against values that are known."""

from __future__ import annotations

import numpy
import pytest

from harness.analyse.scaling import begins_to_pay, power_law, ratio_of_medians, ratio_over_seeds, with_noise
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


def test_the_exponents_that_are_not_ruled_out_widen_with_the_noise():
    exact = power_law(SIZES, [5 + 3e-4 * size**2 for size in SIZES])
    assert exact.high - exact.low < 0.02 and exact.against_linear() == "faster than linear"
    wobbly = [value * factor for value, factor in zip((1, 2, 4, 8, 16), (1.0, 1.3, 0.8, 1.2, 0.9), strict=True)]
    found = power_law(SIZES, wobbly)
    assert found.low < 1 < found.high and found.high - found.low > 1 and found.against_linear() == "cannot be told"
    line = power_law(SIZES, [value * (1 + 0.001 * (-1) ** place) for place, value in enumerate((1, 2, 4, 8, 16))])
    assert line.against_linear() == "about linear"
    root = power_law(SIZES, [1 + size**0.5 for size in SIZES])
    assert root.high < 1 and root.against_linear() == "slower than linear"


def test_the_range_of_exponents_holds_the_true_one_as_often_as_it_says():
    """95 % of ranges from values with independent errors: 200 draws hold it 190 times, give or take twice 3."""
    generator = numpy.random.default_rng(3)
    held = 0
    for _ in range(200):
        values = [(50 + 1e-3 * size**1.5) * generator.normal(1, 0.05) for size in (*SIZES, 8192, 16384)]
        found = power_law((*SIZES, 8192, 16384), values)
        held += found is not None and found.low <= 1.5 <= found.high
    assert held >= 180


def test_noise_between_runs_widens_a_ratio_as_squares_add():
    """4 % between runs: two standard errors of a ratio of single runs are 2 * 0.04 * sqrt(2) = 0.1131 in logarithms."""
    sharp = Interval(1.1, 1.1, 1.1, 40, "repeats")
    found = with_noise(sharp, 1, 0.04)
    assert found.low == pytest.approx(1.1 * numpy.exp(-0.11314), rel=1e-4) and found.contains(1.0)
    assert not with_noise(sharp, 2, 0.04).contains(1.0), "0.08 for two runs of each"
    blurred = with_noise(Interval(1.2, 1.2 * numpy.exp(-0.15), 1.2 * numpy.exp(0.15), 40, "repeats"), 2, 0.1)
    assert blurred.high == pytest.approx(1.2 * numpy.exp(0.25), rel=1e-9), "0.15 and 0.2"
    assert with_noise(Interval(1.1, None, None, 1, "repeats"), 1, 0.04).low is None


def test_ratios_of_three_seeds_have_students_interval():
    found = ratio_over_seeds([2.0, 2.0 * numpy.exp(0.1), 2.0 * numpy.exp(-0.1)])
    assert found.estimate == pytest.approx(2.0)
    assert found.high == pytest.approx(2.0 * numpy.exp(4.3027 * 0.1 / 3**0.5), rel=1e-4)
    assert ratio_over_seeds([2.0]) is None
