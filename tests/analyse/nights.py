"""Nights made by hand for tests: one step per metric, facts as given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from harness.results.nights import Night, night_name

HARD = {"cpu_model": "x", "cores": 2, "memory_gib": 24.0, "threads": 2}
SOFT = {"environment": "main", "python": "3.11.7", "libraries": {"torch": "2.13.0"}}
COORDINATES = {
    "method": "lora", "stage": "lora", "technique": "lora", "task": None, "model": "embedded", "data": "source",
    "precision": "fp32", "hardware": "cpu(threads=2)", "seed": 0,
}  # fmt: skip


def entry(values: Mapping[str, float], **other: Any) -> dict[str, Any]:
    """One step of a night."""
    told = {
        "record": "s1.1", "step": "s1", "operation": "train", "coordinates": COORDINATES, "status": "done",
        "reason": None, "flags": [], "hard": "h1", "software": "main", "determined": {}, "values": dict(values),
    }  # fmt: skip
    return told | other


def canary(seconds: float, hard: str = "h1") -> dict[str, Any]:
    """A canary's entry."""
    nothing = dict.fromkeys(COORDINATES)
    values = {"canary_matmul_seconds": seconds}
    return entry(values, record="c.1", step="c", operation="canary", coordinates=nothing, hard=hard)


def night(number: int, steps: Sequence[Mapping[str, Any]], **other: Any) -> Night:
    """Night number ``number`` (a day each)."""
    started = (datetime(2026, 1, 1, 3) + timedelta(days=number)).isoformat(timespec="milliseconds") + "Z"
    told: dict[str, Any] = {
        "name": night_name(started, "i1"), "suite": "s", "installation": "i1", "started": started,
        "commit": {"sha": "a" * 40, "dirty": False}, "machines": {"h1": HARD}, "software": {"main": SOFT},
        "steps": tuple(steps),
    }  # fmt: skip
    return Night(**(told | other))
