"""Win rates: ties, seeds, prompts that only one method answered."""

from __future__ import annotations

import pandas
import pytest

from harness.analyse.wins import win_rate


def frame(scores: dict[int, float]) -> pandas.DataFrame:
    return pandas.DataFrame({"amount": list(scores.values()), "weight": 1.0}, index=list(scores))


def test_wins_are_averaged_over_seeds_and_counted_over_prompts() -> None:
    first = [frame({1: 2.0, 2: 0.0, 3: 1.0}), frame({1: 2.0, 2: 5.0, 3: 1.0})]
    second = [frame({1: 1.0, 2: 1.0, 3: 1.0}), frame({1: 1.0, 2: 1.0, 3: 0.0})]
    found = win_rate(zip(first, second, strict=True))
    # Prompt 1 is won twice, prompt 2 once, prompt 3 once and once tied.
    assert found is not None and found.estimate == pytest.approx((1 + 0.5 + 0.75) / 3) and found.n == 3
    assert found.low is not None and found.high is not None and found.low < found.estimate < found.high


def test_the_spread_of_training_is_in_the_interval() -> None:
    items = range(400)
    zero = frame(dict.fromkeys(items, 0.0))
    seeds = [frame({item: 1.0 if item % 10 < share else -1.0 for item in items}) for share in (9, 7, 8)]
    found = win_rate((seed, zero) for seed in seeds)
    alone = win_rate([(seeds[0], zero)])
    assert found is not None and found.estimate == pytest.approx(0.8)
    assert found.low == pytest.approx(0.8 - 4.3027 * 0.1 / 3**0.5, abs=1e-3) and found.high == 1.0
    assert alone is not None and alone.low is not None and alone.low > 0.85


def test_wins_among_some_prompts() -> None:
    first, second = frame({1: 1.0, 2: 1.0, 3: 0.0}), frame({1: 0.0, 2: 0.0, 3: 1.0})
    found = win_rate([(first, second)], [pandas.Index([2, 3])])
    assert found is not None and (found.estimate, found.n) == (0.5, 2)
    assert win_rate([(first, second)], [pandas.Index([9])]) is None


def test_only_prompts_that_both_answered_count() -> None:
    found = win_rate([(frame({1: 2.0, 2: 2.0}), frame({2: 1.0, 3: 1.0}))])
    assert found is not None and (found.estimate, found.n) == (1.0, 1)
    assert win_rate([]) is None and win_rate([(frame({1: 1.0}), frame({2: 1.0}))]) is None


def test_a_method_does_not_beat_itself() -> None:
    same = frame({item: float(item) for item in range(40)})
    found = win_rate([(same, same)])
    assert found is not None and (found.low, found.estimate, found.high) == (0.5, 0.5, 0.5)
