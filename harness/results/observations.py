"""What one record says, as single numbers: the step between a record and its rows.

Metric names are checked here, so an undeclared one never becomes a row.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
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


def observations(record: Mapping[str, Any]) -> Iterator[Observation]:
    """Every number of a record in a fixed order, ``status`` first; ``UsageError`` for an undeclared metric.

    Optimiser steps count from 1. Those of the warm-up carry the phase ``warmup``, so that nothing averages them in.
    """
    yield Observation("", "status", "", None, None)
    scalars = dict(record["metrics"])
    if record["status"] != "skipped":
        scalars.setdefault("wall_seconds", record["wall_seconds"])
    for name in sorted(scalars):
        yield _observation(name, scalars[name])
    yield from _spans(record["spans"])
    yield from _steps(record["optimizer_steps"])
    yield from _curve(record["curve"])
    for name, values in sorted(record["samples"].items()):
        for index, value in enumerate(values):
            yield _observation(name, value, sample=index)


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


def _observation(name: str, value: float | None, *, phase: str = "", sample: int | None = None) -> Observation:
    return Observation(phase, name, metric(name).unit, None if value is None else float(value), sample)


def _spans(spans: list[dict[str, Any]]) -> Iterator[Observation]:
    for span in spans:
        name = span["name"]
        yield _observation("span_seconds", span["seconds"], phase=name)
        if span.get("peak_memory_bytes") is not None:
            yield _observation("peak_memory_bytes", span["peak_memory_bytes"], phase=name)
        for key, value in sorted((span.get("cuda") or {}).items()):
            yield _observation(_CUDA.get(key, key), value, phase=name)


def _steps(steps: Mapping[str, Any]) -> Iterator[Observation]:
    warm_up = int(steps.get("warmup") or 0)
    for index, value in enumerate(steps.get("seconds") or (), start=1):
        yield _observation("step_seconds", value, phase=WARM_UP if index <= warm_up else "", sample=index)
    for index, value in enumerate(steps.get("loss") or (), start=1):
        yield _observation("train_loss", value, sample=index)


def _curve(curve: list[dict[str, Any]]) -> Iterator[Observation]:
    for point in curve:
        for name in sorted(set(point) - {"step"}):
            yield _observation(name, point[name], sample=int(point["step"]))
