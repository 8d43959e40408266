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


def test_only_prompts_that_both_answered_count() -> None:
    found = win_rate([(frame({1: 2.0, 2: 2.0}), frame({2: 1.0, 3: 1.0}))])
    assert found is not None and (found.estimate, found.n) == (1.0, 1)
    assert win_rate([]) is None and win_rate([(frame({1: 1.0}), frame({2: 1.0}))]) is None


def test_a_method_does_not_beat_itself() -> None:
    same = frame({item: float(item) for item in range(40)})
    found = win_rate([(same, same)])
    assert found is not None and (found.low, found.estimate, found.high) == (0.5, 0.5, 0.5)
