"""What one record says, as single numbers: the step between a record and its rows.

Metric names are checked here, so an undeclared one never becomes a row.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from harness.metrics import metric
from harness.plan.cells import cell_id

WARM_UP = "warmup"
_CUDA = {
    "allocated_bytes": "cuda_peak_allocated_bytes",
    "reserved_bytes": "cuda_peak_reserved_bytes",
    "active_bytes": "cuda_peak_active_bytes",
    "alloc_retries": "cuda_alloc_retries",
}


class Observation(NamedTuple):
    """One observed number; ``value`` None means that it is missing, ``sample`` None that it is a scalar."""

    phase: str
    metric: str
    unit: str
    value: float | None
    sample: int | None


class Run(NamedTuple):
    """Numbers of one kind in a row: their samples count up from ``sample``, or there is one and it is a scalar."""

    phase: str
    metric: str
    unit: str
    values: Sequence[float | None]
    sample: int | None


def observations(record: Mapping[str, Any]) -> Iterator[Observation]:
    """Every number of a record in a fixed order, ``status`` first; ``UsageError`` for an undeclared metric."""
    for phase, name, unit, values, first in runs(record):
        for index, value in enumerate(values):
            number = None if value is None else float(value)
            yield Observation(phase, name, unit, number, None if first is None else first + index)


def runs(record: Mapping[str, Any]) -> Iterator[Run]:
    """The same numbers in the same order, those of one kind together.

    Optimiser steps count from 1. Those of the warm-up carry the phase ``warmup``, so that nothing averages them in.
    """
    yield Run("", "status", "", (None,), None)
    scalars = dict(record["metrics"])
    if record["status"] != "skipped":
        scalars.setdefault("wall_seconds", record["wall_seconds"])
    for name in sorted(scalars):
        yield _one(name, scalars[name])
    yield from _spans(record["spans"])
    yield from _steps(record["optimizer_steps"])
    yield from _curve(record["curve"])
    for name, values in sorted(record["samples"].items()):
        yield _several(name, values, 0)


def coordinates(record: Mapping[str, Any]) -> dict[str, Any]:
    """Everything of a row that is the same for all rows of a record; a missing coordinate stays None."""
    found, commit = record["coordinates"], record["commit"]
    cell = [found.get(name) for name in ("method", "model", "data", "precision", "hardware", "seed")]
    return {
        "suite": record["suite"],
        "cell": cell_id(*cell),
        **{name: found.get(name) for name in ("method", "stage", "technique", "task", "model", "data")},
        **{name: found.get(name) for name in ("precision", "hardware", "seed")},
        "params": json.dumps(found.get("params") or {}, sort_keys=True, separators=(",", ":")),
        "operation": record["operation"],
        "step": record["step"],
        "status": record["status"],
        "reason": record["reason"],
        "flags": "; ".join(record["flags"]) or None,
        "environment": record["environment"].get("hard_id"),
        "installation": record["environment"].get("installation"),
        "commit": commit.get("sha"),
        "dirty": commit.get("dirty"),
        "record": record["record"],
        "started": record["started"],
    }


def _one(name: str, value: float | None, *, phase: str = "", sample: int | None = None) -> Run:
    return Run(phase, name, metric(name).unit, (value,), sample)


def _several(name: str, values: Sequence[float | None], sample: int, *, phase: str = "") -> Run:
    return Run(phase, name, metric(name).unit, values, sample)


def _spans(spans: list[dict[str, Any]]) -> Iterator[Run]:
    for span in spans:
        name = span["name"]
        yield _one("span_seconds", span["seconds"], phase=name)
        if span.get("peak_memory_bytes") is not None:
            yield _one("peak_memory_bytes", span["peak_memory_bytes"], phase=name)
        for key, value in sorted((span.get("cuda") or {}).items()):
            yield _one(_CUDA.get(key, key), value, phase=name)


def _steps(steps: Mapping[str, Any]) -> Iterator[Run]:
    warm_up, seconds = max(0, int(steps.get("warmup") or 0)), steps.get("seconds") or ()
    yield _several("step_seconds", seconds[:warm_up], 1, phase=WARM_UP)
    yield _several("step_seconds", seconds[warm_up:], warm_up + 1)
    yield _several("train_loss", steps.get("loss") or (), 1)


def _curve(curve: list[dict[str, Any]]) -> Iterator[Run]:
    for point in curve:
        for name in sorted(set(point) - {"step"}):
            yield _one(name, point[name], sample=int(point["step"]))
