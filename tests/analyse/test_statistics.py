"""Statistics against values known from tables, from scipy, and against their own promises (coverage)."""

from __future__ import annotations

from itertools import pairwise

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from harness.analyse.statistics import (
    bootstrap_median,
    bootstrap_ratio,
    mcnemar,
    mean_interval,
    paired_difference,
    paired_ratio_difference,
    percentiles,
)

NUMBERS = st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=30)


def test_t_interval_of_two_seeds_is_wide() -> None:
    found = mean_interval([1.0, 3.0])
    assert found is not None and found.estimate == 2.0
    # t(0.975, 1) = 12.706, s / sqrt(2) = 1
    assert found.high == pytest.approx(2 + 12.706, abs=1e-3) and found.low == pytest.approx(2 - 12.706, abs=1e-3)


@given(NUMBERS)
def test_t_interval_is_scipys(values: list[float]) -> None:
    found = mean_interval(values)
    spread = stats.sem(values)
    if found is None or not numpy.isfinite(spread) or spread == 0:
        return
    low, high = stats.t.interval(0.95, len(values) - 1, numpy.mean(values), spread)
    assert found.low == pytest.approx(low, rel=1e-6, abs=1e-6) and found.high == pytest.approx(high, rel=1e-6, abs=1e-6)


def test_one_value_has_no_interval_and_none_has_no_mean() -> None:
    found = mean_interval([5.0])
    assert found is not None and (found.estimate, found.low, found.high) == (5.0, None, None)
    assert found.contains(5.0) is None
    assert mean_interval([]) is None and bootstrap_median([]) is None and bootstrap_ratio([]) is None
    assert percentiles([]) is None


def test_bootstrap_is_seeded() -> None:
    values = numpy.random.default_rng(1).normal(size=50).tolist()
    assert bootstrap_ratio(values) == bootstrap_ratio(values)
    assert bootstrap_median(values) == bootstrap_median(values)
    assert bootstrap_ratio(values, seed=1) != bootstrap_ratio(values, seed=2)


def test_many_samples_need_no_resampling_and_give_the_same_interval() -> None:
    from harness.analyse import statistics

    values = numpy.random.default_rng(5).normal(size=1500).tolist()
    fast = bootstrap_median(values)
    draws = numpy.median(numpy.random.default_rng(6).choice(values, (2000, 1500)), axis=1)
    low, high = statistics._tails(draws, 0.95)
    assert fast is not None and fast.low == pytest.approx(low, abs=0.02) and fast.high == pytest.approx(high, abs=0.02)


def test_ratio_weighs_long_items_more() -> None:
    found = bootstrap_ratio([10.0, 1.0], [10.0, 1.0])
    assert found is not None and found.estimate == 1.0
    found = bootstrap_ratio([10.0, 4.0], [10.0, 1.0])
    assert found is not None and found.estimate == pytest.approx(14 / 11)


def test_bootstrap_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    generator = numpy.random.default_rng(3)
    hits = 0
    for _ in range(200):
        found = bootstrap_ratio(generator.normal(1.0, 2.0, 60).tolist())
        assert found is not None
        hits += bool(found.contains(1.0))
    assert 0.88 <= hits / 200 <= 0.99


def test_paired_sees_what_unpaired_cannot() -> None:
    generator = numpy.random.default_rng(4)
    hard = generator.normal(0, 1, 100)
    first, second = hard + 0.02, hard + generator.normal(0, 0.01, 100)
    paired = paired_difference(first.tolist(), second.tolist())
    one, other = bootstrap_ratio(first.tolist()), bootstrap_ratio(second.tolist())
    assert paired is not None and one is not None and other is not None
    assert paired.contains(0.0) is False and paired.contains(0.02)
    assert one.low is not None and other.high is not None and one.low < other.high


def test_a_difference_of_ratios_by_hand() -> None:
    """(6 + 2) / (2 + 2) - (6 + 2) / (3 + 1) = 0; a tokenizer that needs half as much is told apart."""
    assert paired_ratio_difference(([6, 2], [2, 2]), ([6, 2], [3, 1])).estimate == 0.0
    generator = numpy.random.default_rng(0)
    sizes = generator.integers(50, 200, 300).astype(float)
    many = sizes / generator.uniform(2.9, 3.1, 300)
    few = many * generator.uniform(0.97, 0.98, 300)
    found = paired_ratio_difference((sizes.tolist(), few.tolist()), (sizes.tolist(), many.tolist()))
    apart = [bootstrap_ratio(sizes.tolist(), tokens.tolist()) for tokens in (few, many)]
    assert found.low > 0, "paired, every item has fewer tokens"
    assert found.high - found.low < 0.2 * (apart[0].high - apart[0].low)
    assert found.estimate == pytest.approx(sizes.sum() / few.sum() - sizes.sum() / many.sum())


def test_equal_weights_give_the_plain_paired_difference() -> None:
    one, other, weights = [1.0, 4.0, 2.0], [2.0, 1.0, 1.0], [1.0, 2.0, 3.0]
    plain = paired_difference(one, other, weights)
    assert paired_ratio_difference((one, weights), (other, weights)).estimate == pytest.approx(plain.estimate)


def test_paired_needs_the_same_items() -> None:
    with pytest.raises(ValueError, match="3 with 2"):
        paired_difference([1, 2, 3], [1, 2])
    with pytest.raises(ValueError, match="1 with 2"):
        mcnemar([1], [1, 0])


@pytest.mark.parametrize(("gained", "lost"), [(1, 0), (5, 5), (8, 1), (30, 12), (0, 7)])
def test_mcnemar_is_the_exact_binomial_test(gained: int, lost: int) -> None:
    first = [1] * gained + [0] * lost + [1, 0]
    second = [0] * gained + [1] * lost + [1, 0]
    assert mcnemar(first, second) == pytest.approx(stats.binomtest(gained, gained + lost).pvalue)


def test_mcnemar_of_equal_answers_has_no_value() -> None:
    assert mcnemar([1, 0, 1], [1, 0, 1]) is None


def test_percentiles_use_n_minus_1_and_no_std_of_one() -> None:
    found = percentiles([1.0, 2.0, 3.0, 4.0])
    assert found is not None and found.median == 2.5 and found.std == pytest.approx(numpy.std([1, 2, 3, 4], ddof=1))
    assert found.p90 == pytest.approx(3.7) and found.lowest == 1.0 and found.highest == 4.0
    single = percentiles([1.0])
    assert single is not None and single.std is None and single.p99 == 1.0


@given(NUMBERS)
def test_percentiles_are_ordered(values: list[float]) -> None:
    found = percentiles(values)
    assert found is not None
    ordered = [found.lowest, found.median, found.p90, found.p95, found.p99, found.highest]
    assert all(low <= high + 1e-6 for low, high in pairwise(ordered))
