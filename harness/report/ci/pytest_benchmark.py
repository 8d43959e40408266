"""A suite's times as the JSON that ``pytest --benchmark-json`` writes.

``pytest-benchmark compare`` reads it, and so do services and actions that track benchmarks and know pytest's form.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness.metrics import METRICS
from harness.report.ci.measured import Measured, coordinates, parameters
from harness.report.ci.rounds import statistics_of
from harness.results.record import Record

FOLLOWS = "5.3.1"  # the version of pytest-benchmark whose form this is


def pytest_benchmark(found: Sequence[Measured]) -> dict[str, Any]:
    """One benchmark per record and sampled time, in seconds; of a record without samples its wall time is one round.

    Records of one installation, at least one. ``group`` is the metric; ``extra_info`` holds the coordinates and every
    other number. The same records give the same document.
    """
    last = max((one.record for one in found), key=lambda record: (record["started"], record["record"]))
    return {
        "machine_info": _machine(last["environment"]),
        "commit_info": _commit(last),
        "benchmarks": [_benchmark(one, metric, rounds) for one in found for metric, rounds in timed(one.record)],
        "datetime": last["started"].replace("Z", "+00:00"),
        "version": FOLLOWS,
    }


def timed(record: Record) -> Iterator[tuple[str, list[float]]]:
    """(metric, seconds of every round) of all times that were sampled, the warm-up steps left out."""
    steps = record["optimizer_steps"]
    counted = {"step_seconds": (steps.get("seconds") or [])[int(steps.get("warmup") or 0) :]}
    counted |= {name: values for name, values in sorted(record["samples"].items()) if _is_time(name)}
    sampled = {name: rounds for name, values in counted.items() if (rounds := _finite(values))}
    yield from (sampled or {"wall_seconds": _finite([record["wall_seconds"]]) or [0.0]}).items()


def numbers(record: Record) -> dict[str, float]:
    """The record's single numbers that are there, by metric."""
    return {name: value for name, value in sorted(record["metrics"].items()) if _finite([value])}


def _is_time(name: str) -> bool:
    return name in METRICS and METRICS[name].unit == "s"


def _finite(values: Sequence[Any]) -> list[float]:
    return [value for value in values if isinstance(value, int | float) and math.isfinite(value)]


def _benchmark(one: Measured, metric: str, rounds: list[float]) -> dict[str, Any]:
    record, where = one.record, coordinates(one.record)
    told = {name: value for name, value in where.items() if value is not None}
    return {
        "group": metric,
        "name": one.short,
        "fullname": one.name(metric),
        "params": where,
        "param": parameters(record),
        "extra_info": {
            **told, "metrics": numbers(record), "flags": list(record["flags"]), "record": record["record"],
            "hard_id": record["environment"].get("hard_id"),
        },
        "options": {"disable_gc": False, "timer": "perf_counter", "warmup": metric == "step_seconds"},
        "stats": statistics_of(rounds),
    }  # fmt: skip


def _machine(environment: Mapping[str, Any]) -> dict[str, Any]:
    """The machine's facts under pytest-benchmark's names; the installation's random id in place of a host's name."""
    hard, soft = environment.get("hard") or {}, environment.get("soft") or {}
    python, processor = soft.get("python"), hard.get("cpu_model")
    return {
        "node": environment.get("installation"), "processor": processor, "machine": soft.get("machine"),
        "python_compiler": None, "python_implementation": "CPython", "python_implementation_version": python,
        "python_version": python, "python_build": [], "release": soft.get("kernel"), "system": soft.get("system"),
        "cpu": {"brand_raw": processor, "arch_string_raw": soft.get("machine"), "count": hard.get("cores")},
        "memory_gib": hard.get("memory_gib"), "gpus": hard.get("gpus") or [], "libraries": soft.get("libraries") or {},
    }  # fmt: skip


def _commit(record: Record) -> dict[str, Any]:
    commit = record["commit"]
    return {
        "id": commit.get("sha"), "time": None, "author_time": None, "dirty": commit.get("dirty"),
        "project": record["suite"], "branch": "(unknown)",
    }  # fmt: skip
