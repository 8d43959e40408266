"""Reading learning curves at equal seconds."""

from __future__ import annotations

import pytest

from harness.analyse.curves import common_seconds, value_at

CURVE = [(0.0, 4.0), (10.0, 2.0), (30.0, 1.0)]


@pytest.mark.parametrize(("seconds", "value"), [(0, 4.0), (5, 3.0), (10, 2.0), (20, 1.5), (30, 1.0)])
def test_between_two_points_the_value_is_on_their_line(seconds, value):
    assert value_at(CURVE, seconds) == pytest.approx(value)


def test_outside_of_a_curve_there_is_no_value():
    assert value_at(CURVE, 30.1) is None and value_at(CURVE[1:], 5) is None
    assert value_at([], 0) is None and value_at([(3.0, 1.0)], 3.0) == 1.0


def test_two_points_at_one_moment_give_the_later():
    assert value_at([(1.0, 5.0), (1.0, 3.0)], 1.0) == 3.0


def test_all_curves_have_reached_the_end_of_the_shortest():
    assert common_seconds([CURVE, [(0.0, 1.0), (12.0, 0.5)]]) == 12.0
    assert common_seconds([[]]) is None
