"""Watched numbers as the custom JSON of github-action-benchmark, one list for each direction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

from harness.analyse.watched import WATCHED
from harness.metrics import METRICS
from harness.report.ci.measured import Measured
from harness.report.ci.pytest_benchmark import numbers
from harness.report.ci.rounds import quartiles
from harness.results.record import Record


def benchmark_action(found: Sequence[Measured], better: Literal["lower", "higher"]) -> list[dict[str, Any]]:
    """Every watched number of which less (``customSmallerIsBetter``) or more (``customBiggerIsBetter``) is better.

    Values are in the metric's unit. Facts without a better side (parameters, tokens seen) are in neither list.
    """
    return [entry for one in found for entry in _entries(one, better)]


def _entries(one: Measured, better: str) -> Iterator[dict[str, Any]]:
    record = one.record
    for metric, value in numbers(record).items():
        if metric in WATCHED and WATCHED[metric].direction == better:
            spread = _range(record, metric)
            yield {
                "name": one.name(metric), "unit": METRICS[metric].unit, "value": value,
                **({"range": spread} if spread else {}),
                "extra": f"series {one.series(metric)}\n"
                f"record {record['record']}\ncommit {record['commit'].get('sha')}\n"
                f"hardware facts {record['environment'].get('hard_id')}",
            }  # fmt: skip


def _range(record: Record, metric: str) -> str:
    """Half the distance between the quartiles of the metric's samples; nothing where there are fewer than two."""
    samples = sorted(value for value in record["samples"].get(metric) or () if isinstance(value, int | float))
    if len(samples) < 2:
        return ""
    first, third = quartiles(samples)
    return f"± {(third - first) / 2:.3g}"
