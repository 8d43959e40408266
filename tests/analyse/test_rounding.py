"""The frontier of plain rounding, and what it reaches between its points."""

from __future__ import annotations

import math

import pytest

from harness.analyse.rounding import divergence_at, frontier

POINTS = [(6.0, 0.04), (4.0, 1.0), (5.0, 0.2), (5.5, 0.3), (8.0, 0.0001)]


def test_a_point_with_more_bits_and_more_divergence_is_beaten() -> None:
    assert frontier(POINTS) == [(4.0, 1.0), (5.0, 0.2), (6.0, 0.04), (8.0, 0.0001)]
    assert frontier([]) == []


def test_between_two_points_the_logarithm_is_a_line() -> None:
    front = frontier(POINTS)
    assert divergence_at(front, 5.0) == pytest.approx(0.2)
    assert divergence_at(front, 5.5) == pytest.approx(math.sqrt(0.2 * 0.04))


def test_outside_of_the_frontier_nothing_is_known() -> None:
    front = frontier(POINTS)
    assert divergence_at(front, 3.9) is None and divergence_at(front, 8.1) is None
    assert divergence_at(front[:1], 4.0) is None
