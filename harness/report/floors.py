"""What an answer without any learning is worth, and whether a score is clearly above it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from harness.analyse.statistics import Interval
from harness.analyse.summary import NORMAL_WIDTH, Line
from harness.report.content import Content

CHANCE = 0.05  # of any of the comparisons that a best value was chosen from (Bonferroni)


@dataclass(frozen=True)
class Floor:
    """What answering ``how`` always gets."""

    how: str
    share: float


def floor_of(content: Content, line: Line) -> Floor | None:
    """Guessing for multiple choice, the commonest class for classes; None where the records do not tell it."""
    if line["metric"] == "choice_accuracy":
        chance = content.chance(line["steps"])
        return Floor("guessing", chance) if chance else None
    if line["metric"] == "classification_accuracy":
        commonest = content.values("majority_share", line["steps"])
        return Floor("answering the commonest class", max(commonest)) if commonest else None
    return None


def over_items(content: Content, line: Line) -> tuple[float | None, float | None]:
    """Ends of the interval over the test items, the seeds averaged; the line's own where there are no items."""
    found: Interval | None = content.scores.interval(line["metric"], line["steps"])
    return (line["low"], line["high"]) if found is None else (found.low, found.high)


def clears(content: Content, line: Line, floor: Floor, among: int = 1) -> bool:
    """Whether the best score of ``among`` so many is clearly above the floor: over the items, and in every seed."""
    low, high = over_items(content, line)
    if line["lowest"] <= floor.share or low is None or high is None or high <= low:
        return bool(line["lowest"] > floor.share)
    errors = NORMAL_WIDTH * (line["value"] - floor.share) / (high - low)
    return math.erfc(errors / math.sqrt(2)) * among <= CHANCE
