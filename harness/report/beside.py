"""Names beside the marks of a picture, where they fit: none covers a mark or another, and none leaves its panel."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

FONT_SIZE = 10
# Of the widest of the fonts that pictures are drawn with, at this size, in pixels.
CHARACTER, LINE = 6.2, 12.0
MARK = 6.0  # half of a mark's size
AWAY = 8.0  # from a mark's middle to its name
STEP = 3.0
Point = tuple[float, float]


class Box(NamedTuple):
    """A rectangle in pixels, y downwards."""

    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: Box) -> bool:
        """Whether the two have an area in common."""
        across = self.left < other.right and other.left < self.right
        return across and self.top < other.bottom and other.top < self.bottom


class Side(NamedTuple):
    """A place for a name: its box by the mark and the name's width, and how Vega-Lite aligns and shifts the text."""

    box: Callable[[float, float, float], Box]
    align: str
    dx: float
    dy: float


def _side(across: int, up: int) -> Side:
    """A name to the right (``across`` 1) or left of a mark, raised by a line (``up`` 1), lowered, or level with it."""
    dx, dy = across * (AWAY - abs(up)), -up * LINE * 0.6

    def box(x: float, y: float, width: float) -> Box:
        left = x + dx if across > 0 else x + dx - width
        return Box(left, y + dy - LINE / 2, left + width, y + dy + LINE / 2)

    return Side(box, "left" if across > 0 else "right", dx, dy)


SIDES = {
    f"{high}{wide}": _side(across, up)
    for up, high in ((1, "upper "), (-1, "lower "), (0, "")) for across, wide in ((1, "right"), (-1, "left"))
}  # fmt: skip


def padded(values: Sequence[float], length: float, padding: float) -> tuple[float, float]:
    """The ends of an axis of ``length`` pixels that keeps every finite value ``padding`` pixels away from them."""
    finite = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    low, high = min(finite), max(finite)
    each = (high - low or abs(high) or 1.0) * padding / (length - 2 * padding)
    return low - each, high + each


def sides(
    marks: Sequence[Point], names: Sequence[str], joined: Sequence[Point], width: float, height: float
) -> list[str]:
    """For each mark (x and y in pixels) the side on which its name stands; empty where there is no room or no name.

    A name covers no mark and no other name; of the sides left, the one where the line through ``joined`` crosses it
    least is taken.
    """
    around = [Box(x - MARK, y - MARK, x + MARK, y + MARK) for x, y in marks]
    line = [Box(x - 1, y - 1, x + 1, y + 1) for x, y in _along(joined)]
    found = [""] * len(marks)
    for place in sorted(range(len(marks)), key=lambda one: marks[one]):
        if not names[place]:
            continue
        boxes = {name: side.box(*marks[place], CHARACTER * len(names[place])) for name, side in SIDES.items()}
        free = {
            name: sum(box.meets(one) for one in line) for name, box in boxes.items()
            if box.left >= 0 and box.right <= width and box.top >= 0 and box.bottom <= height
            and not any(box.meets(one) for one in around)
        }  # fmt: skip
        if free:
            found[place] = min(free, key=lambda name: free[name])
            around.append(boxes[found[place]])
    return found


def _along(joined: Sequence[Point]) -> Iterator[Point]:
    """Points on the line through others, at most ``STEP`` pixels apart."""
    for (x, y), (to_x, to_y) in pairwise(joined):
        count = max(1, math.ceil(math.hypot(to_x - x, to_y - y) / STEP))
        yield from ((x + (to_x - x) * part / count, y + (to_y - y) * part / count) for part in range(count + 1))
