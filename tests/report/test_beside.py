"""Names beside marks: none covers a mark or another or leaves the panel, and one alone has its place."""

from __future__ import annotations

import math
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.report.beside import CHARACTER, MARK, SIDES, Box, padded, sides

WIDTH, HEIGHT = 255, 270
MARKS = st.lists(st.tuples(st.floats(12, WIDTH - 12), st.floats(12, HEIGHT - 12)), min_size=1, max_size=20)


@given(MARKS, st.data())
def test_no_name_covers_another_or_leaves_the_panel(marks, data):
    names = data.draw(st.lists(st.text("ab(", max_size=30), min_size=len(marks), max_size=len(marks)))
    found = sides(marks, names, marks[:3], WIDTH, HEIGHT)
    boxes = [SIDES[side].box(*mark, CHARACTER * len(name))
             for mark, name, side in zip(marks, names, found, strict=True) if side]  # fmt: skip
    assert not any(one.meets(other) for one, other in combinations(boxes, 2))
    assert not any(box.meets(Box(x - MARK, y - MARK, x + MARK, y + MARK)) for box in boxes for x, y in marks)
    assert all(one.left >= 0 and one.right <= WIDTH and one.top >= 0 and one.bottom <= HEIGHT for one in boxes)
    assert all(not side for name, side in zip(names, found, strict=True) if not name)


@pytest.mark.parametrize(
    ("marks", "joined", "expected"),
    [([(20, 100)], [], ["upper right"]), ([(240, 100)], [], ["upper left"]),
     ([(20, 100)], [(20, 100), (120, 60)], ["lower right"]),
     ([(100, 100), (114, 93)], [], ["upper left", "upper right"]),
     ([(120, 100)] * 5, [], ["upper right", "upper left", "lower right", "lower left", ""]),
     ([(127, 15)], [], ["upper right"]), ([(127, 13)], [], ["lower right"])],
)  # fmt: skip
def test_a_name_goes_where_there_is_room(marks, joined, expected):
    assert sides(marks, ["a_name"] * len(marks), joined, WIDTH, HEIGHT) == expected


def test_an_axis_keeps_its_values_away_from_its_ends():
    low, high = padded([3.0, 7.0, math.inf, math.nan], 100, 10)
    assert (low, high) == (2.5, 7.5)
    assert padded([5.0, 5.0], 100, 10)[0] < 5 < padded([5.0], 100, 10)[1] and padded([], 100, 10)[0] < 0
    assert padded([0.0], 100, 10)[1] > 0
