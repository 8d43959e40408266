"""When pairs of runs are an alarm: a cheap look at the first pairs, then the whole rule on as many new ones.

Differences are head against base of one pair, and positive where the head is worse. What looks worse in the first
pairs is only suspected: it is above what counts and above the smallest change that these pairs would show. Then as
many pairs are measured again, and by these alone it is an alarm, if it is above what counts and above **twice** the
smallest change that all pairs would show. So no estimate is judged that was chosen for being large, and the small
chances of both looks multiply. That is why nothing is corrected for the number of series: with ten pairs no rank test
could pass such a correction from 52 series on (its smallest p-value is 1 / 1024), and twice the smallest detectable
change is more than five standard errors. Asking for twice in the first look, too, would find a slow-down by 10 % in 82
of 100 gates at 3 % noise instead of 99, and raise no fewer false alarms (``harness.analyse.simulate_gate``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from harness.analyse.significance import shift, signed_rank, smallest_detectable

Verdict = Literal["few", "worse", "suspected", "not confirmed", "better", "blind", "same"]
FEWEST_PAIRS = 10
ALPHA = 0.05
BLIND = 0.10  # a gate that would let such a change pass has not looked
SUSPECTED, ALARMING = 1.0, 2.0  # in smallest detectable changes


def verdict(first: Sequence[float], again: Sequence[float], smallest: float, blind: float = BLIND) -> Verdict:
    """What pairs say; ``again`` is empty before anything was measured again. All numbers are on one scale.

    ``suspected`` asks for the same number of pairs again; ``blind``: a change of that size would not be an alarm.
    """
    if len(first) < FEWEST_PAIRS:
        return "few"
    # What was not suspected is judged by the first pairs alone: the others were measured for other numbers.
    needed = bar([*first, *again], smallest)
    enough = len(again) >= FEWEST_PAIRS
    if _suspected(first, smallest):
        if not enough:
            return "few" if again else "suspected"
        return "worse" if _beyond(again, needed) else "not confirmed"
    better = _suspected([-value for value in first], smallest)
    if better and _beyond([-value for value in (again if enough else first)], needed):
        return "better"
    return "blind" if bar(first, smallest) > max(blind, smallest) else "same"


def bar(differences: Sequence[float], smallest: float) -> float:
    """What a change must exceed to be an alarm."""
    found = smallest_detectable(differences)
    return math.inf if found is None else max(smallest, ALARMING * found)


def _suspected(differences: Sequence[float], smallest: float) -> bool:
    found = smallest_detectable(differences)
    return found is not None and _beyond(differences, max(smallest, SUSPECTED * found))


def _beyond(differences: Sequence[float], needed: float) -> bool:
    found = shift(differences)
    return found is not None and found.estimate > needed and signed_rank(differences, "greater") < ALPHA
