"""One number of two sides of a cell before anything is corrected: the effect, its test, and what that could say."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from harness.analyse.sides import Cell
from harness.analyse.watched import Watched

# The smallest detectable change at this one-sided level (``harness.analyse.significance.detectable``).
Seen = Callable[[float], float | None]


@dataclass(frozen=True)
class Finding:
    """One number of a cell. ``effect`` is in the scale of ``Watched.smallest``, bounded by ``low`` and ``high``.

    ``p`` goes into the family that is corrected; ``exact`` and ``clear`` need no test; ``insufficient`` says why there
    is no verdict. ``signs`` counts the pairs (in the words of ``of``) of a test that knows only ranks or signs.
    """

    cell: Cell
    watched: Watched
    before: float
    after: float
    effect: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    seen: Seen | None = None
    exact: bool = False
    clear: bool = False
    insufficient: str = ""
    signs: int | None = None
    of: str = "pairs of runs"

    def share(self, value: float | None) -> float | None:
        """An effect as a share of the value before; None where that means nothing."""
        if value is None or not self.watched.absolute:
            return value
        return value / self.before if self.before > 0 else None

    @property
    def attainable(self) -> float:
        """The smallest p-value that its test can give: of n pairs 2 / 2^n, two-sided."""
        return 0.0 if self.signs is None else 2.0 ** (1 - self.signs)


def wanted(tests: int, alpha: float) -> int:
    """How many pairs a two-sided test of signs or ranks takes to say ``alpha`` as one of ``tests``."""
    return math.floor(math.log2(2 * tests / alpha)) + 1
