"""Statistics of timed rounds, exactly those that pytest-benchmark writes (its ``stats.py``, version 5.3)."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any


def statistics_of(seconds: Sequence[float]) -> dict[str, Any]:
    """Every field of pytest-benchmark's ``stats`` for at least one round; ``data`` are the rounds themselves.

    Quartiles are the medians of the halves of an even number of rounds and Method 3 of Wikipedia's for an odd one.
    """
    data, total = sorted(seconds), sum(seconds)
    mean = statistics.mean(data)
    deviation = statistics.stdev(data) if len(data) > 1 else 0.0
    first, third = quartiles(data)
    spread = third - first
    low, high = first - 1.5 * spread, third + 1.5 * spread
    beyond = sum(not mean - deviation <= value <= mean + deviation for value in data)
    outliers = sum(not low <= value <= high for value in data)
    return {
        "min": data[0], "max": data[-1], "mean": mean, "stddev": deviation, "rounds": len(data),
        "median": statistics.median(data), "iqr": spread, "q1": first, "q3": third, "iqr_outliers": outliers,
        "stddev_outliers": beyond, "outliers": f"{beyond};{outliers}",
        "ld15iqr": min((value for value in data if value >= low), default=data[0]),
        "hd15iqr": max((value for value in data if value <= high), default=data[-1]),
        "ops": len(data) / total if total else 0.0, "total": total, "data": list(seconds), "iterations": 1,
    }  # fmt: skip


def quartiles(data: Sequence[float]) -> tuple[float, float]:
    """The first and the third quartile of sorted data."""
    count = len(data)
    if count == 1:
        return data[0], data[0]
    if count % 2 == 0:
        return statistics.median(data[: count // 2]), statistics.median(data[count // 2 :])
    part, rest = divmod(count, 4)
    if rest == 1:
        return (
            0.25 * data[part - 1] + 0.75 * data[part], 0.75 * data[3 * part] + 0.25 * data[3 * part + 1]
        )  # fmt: skip
    return (
        0.75 * data[part] + 0.25 * data[part + 1], 0.25 * data[3 * part + 1] + 0.75 * data[3 * part + 2]
    )  # fmt: skip
