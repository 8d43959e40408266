"""Rank tests against scipy, against every sign by hand, and against their promises in simulation."""

from __future__ import annotations

import itertools
import math

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from harness.analyse.significance import holm, shift, signed_rank, smallest_detectable

FEW = st.lists(st.integers(-4, 4), min_size=1, max_size=9)


@pytest.mark.parametrize("alternative", ["two-sided", "greater", "less"])
@pytest.mark.parametrize("pairs", [1, 5, 10, 25, 50])
def test_without_ties_it_is_scipys_exact_test(pairs: int, alternative: str) -> None:
    values = numpy.random.default_rng(pairs).normal(0.3, 1.0, pairs).tolist()
    expected = stats.wilcoxon(values, alternative=alternative, method="exact").pvalue
    assert signed_rank(values, alternative) == pytest.approx(expected, rel=1e-9)


@given(FEW)
def test_with_ties_and_zeros_it_is_the_count_over_all_signs(values: list[int]) -> None:
    kept = [value for value in values if value]
    ranks = stats.rankdata([abs(value) for value in kept])
    seen = sum(rank for rank, value in zip(ranks, kept, strict=True) if value > 0)
    sums = [numpy.dot(ranks, signs) for signs in itertools.product((0, 1), repeat=len(kept))]
    expected = sum(total >= seen for total in sums) / len(sums) if kept else 1.0
    assert signed_rank(values, "greater") == pytest.approx(expected)
    assert signed_rank([-value for value in values], "less") == pytest.approx(expected)


def test_ten_pairs_of_one_sign_give_the_smallest_p_there_is() -> None:
    assert signed_rank([0.1] * 10, "greater") == pytest.approx(1 / 1024)
    assert signed_rank([0.1] * 10) == pytest.approx(2 / 1024)
    assert signed_rank([0.1] * 10, "less") == 1.0
    assert signed_rank([0.0] * 10) == signed_rank([]) == 1.0


def test_holm_by_hand() -> None:
    # 4 x .01, then 3 x .02 = .06, then max(.06, 2 x .02), then max(.06, 1 x .5)
    assert holm([0.02, 0.01, 0.5, 0.02]) == pytest.approx([0.06, 0.04, 0.5, 0.06])
    assert holm([0.4, 0.6]) == pytest.approx([0.8, 0.8])
    assert holm([]) == []


def test_the_shift_is_the_median_of_pairwise_means() -> None:
    # Walsh means of 1, 2, 6: 1, 1.5, 2, 3.5, 4, 6
    found = shift([6.0, 1.0, 2.0])
    assert found is not None and found.estimate == pytest.approx(2.75)
    assert (found.low, found.high, found.n) == (None, None, 3)
    assert shift([]) is None
    assert shift([1.0] * 5).low is None and shift([1.0] * 6).low == 1.0


def test_an_outlier_moves_the_mean_and_not_the_shift() -> None:
    values = numpy.random.default_rng(3).normal(0, 0.01, 12).tolist()
    spoiled = [*values[:-1], 0.5]
    assert numpy.mean(spoiled) - numpy.mean(values) > 0.03
    assert abs(shift(spoiled).estimate - shift(values).estimate) < 0.01


def test_the_interval_is_what_the_test_does_not_reject() -> None:
    values = numpy.random.default_rng(1).normal(0.2, 1.0, 12)
    found = shift(values.tolist())
    for moved, inside in ((1e-9, True), (-1e-9, False)):
        for end, sign in ((found.low, 1), (found.high, -1)):
            p = signed_rank((values - end - sign * moved).tolist())
            assert (p > 0.05) == inside


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    generator = numpy.random.default_rng(5)
    held = [shift(generator.normal(1.0, 1.0, 10).tolist()).contains(1.0) for _ in range(1500)]
    assert 0.94 < numpy.mean(held) < 0.97


def test_the_smallest_detectable_change_by_hand() -> None:
    values = [0.01, -0.01, 0.02, 0.0]
    spread = numpy.std(values, ddof=1) / 2
    expected = (stats.t.ppf(0.95, 3) + stats.t.ppf(0.8, 3)) * spread
    assert smallest_detectable(values) == pytest.approx(expected)
    assert smallest_detectable([0.1]) is None
    assert smallest_detectable([0.1, 0.1, 0.1]) == pytest.approx(0.0)


def test_with_ten_pairs_the_extremes_count_as_their_neighbours() -> None:
    values = [float(number) for number in range(10)]
    winsorised = [1.0, *values[1:-1], 8.0]
    error = numpy.std(winsorised, ddof=1) / (0.8 * math.sqrt(10))
    expected = (stats.t.ppf(0.95, 7) + stats.t.ppf(0.8, 7)) * error
    assert smallest_detectable(values) == smallest_detectable([*values[:-1], 1000.0]) == pytest.approx(expected)


def test_a_change_of_that_size_is_found_in_eight_of_ten_cases() -> None:
    generator = numpy.random.default_rng(7)
    spread, pairs = 0.03, 12
    usual = numpy.mean([smallest_detectable(generator.normal(0, spread, pairs).tolist()) for _ in range(300)])
    found = [signed_rank(generator.normal(usual, spread, pairs).tolist(), "greater") < 0.05 for _ in range(1500)]
    assert 0.74 < numpy.mean(found) < 0.9
