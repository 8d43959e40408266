"""Equal seconds: where runs that learn the same thing stood when the quickest of them ended, read off their curves."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

import numpy
import pandas

from harness.analyse.curves import Curve, common_seconds, value_at
from harness.analyse.patterns import SETTINGS
from harness.analyse.statistics import mean_interval
from harness.catalogue import adapter_class, build_params
from harness.errors import HarnessError
from harness.metrics import metric as declared
from harness.plan.expression import parse, value_text
from harness.report.content import CURVES, Content, one_line
from harness.report.document import Column, Row, Table, Value
from harness.report.numbers import interval, plain, pretty

RUN = ("method", "model", "precision")
Group = tuple[Any, ...]


def equal_seconds(content: Content, points: pandas.DataFrame) -> list[Table]:
    """A table for each kind of curve that at least two methods or models have; ``points`` as ``curve_points`` gives."""
    steps = content.done.loc[content.done["metric"] == "status", ["step", "stage"]].astype(str)
    stages = dict(steps.itertuples(index=False, name=None))
    kinds: dict[Group, dict[Group, list[Curve]]] = {}
    for step, run in _runs(points):
        metric = next((name for name in CURVES if not numpy.isnan(run[name]).all()), None)
        if metric is None:
            continue
        key = (run["data"][0], run["hardware"][0], metric, validated(stages[step], metric))
        line = tuple(run[name][0] for name in RUN)
        kinds.setdefault(key, {}).setdefault(line, []).append(_curve(run, metric))
    order = {key: place for place, key in enumerate(_order(content))}
    found = [_table(key, runs, order) for key, runs in kinds.items() if len({line[:2] for line in runs}) > 1]
    return [table for table in found if table is not None]


def _runs(points: pandas.DataFrame) -> Iterator[tuple[str, dict[str, Any]]]:
    """The columns of each step's points as arrays, by the order of its samples."""
    ordered = points.sort_values("sample", kind="stable")
    numbers = ("train_seconds", *CURVES)
    columns = {name: ordered[name].to_numpy(dtype=float) for name in numbers}
    columns |= {name: ordered[name].to_numpy(dtype=object) for name in ("data", "hardware", *RUN)}
    places = ordered.groupby("step", sort=False).indices
    for step in points["step"].drop_duplicates():
        yield str(step), {name: column[places[step]] for name, column in columns.items()}


def _curve(run: dict[str, Any], metric: str) -> Curve:
    pairs = zip(run["train_seconds"].tolist(), run[metric].tolist(), strict=True)
    return [pair for pair in pairs if not (math.isnan(pair[0]) or math.isnan(pair[1]))]


@cache
def validated(stage: str, metric: str) -> str:
    """What a stage's validation curve is about; curves compare where it is the same.

    Bits per byte of one text compare whatever was learnt; losses only by the same objective, of the same view. What
    learns from preferences has an objective of its own each.
    """
    try:
        call = parse(stage).stages[0].call
        kind = adapter_class(call.name)
        view = kind(build_params(kind.Params, dict(call.params), owner=call.name)).view
    except HarnessError:
        return stage
    if metric == "validation_bits_per_byte" or view not in ("text", "pairs"):
        return str(view)
    shown = [f"{key}={value_text(value)}" for key, value in call.params if key not in SETTINGS]
    return f"{call.name}({', '.join(shown)})" if shown else call.name


def _order(content: Content) -> Iterable[Group]:
    return [(outcome.key[0], outcome.key[1], outcome.key[3]) for outcome in content.outcomes]


def _length(line: Group) -> Any:
    """The length of the sequences that a method names: validation windows are as long, and easier the longer."""
    try:
        return dict(parse(str(line[0])).stages[-1].call.params).get("sequence_length")
    except HarnessError:
        return None


def _table(key: Group, runs: dict[Group, list[Curve]], order: dict[Group, int]) -> Table | None:
    data, hardware, metric, what = key
    seconds = common_seconds(curve for curves in runs.values() for curve in curves)
    if not seconds:
        return None
    lines = sorted(runs, key=lambda line: order.get(line, len(order)))
    at = {line: mean_interval([value for curve in runs[line] if (value := value_at(curve, seconds)) is not None])
          for line in lines}  # fmt: skip
    best = min((found.estimate for found in at.values() if found is not None), default=None)
    best = None if len(set(map(_length, lines))) > 1 else best
    rows = []
    for line in lines:
        found, ends = at[line], mean_interval([curve[-1][1] for curve in runs[line]])
        ended = mean_interval([curve[-1][0] for curve in runs[line]])
        if found is None or ends is None or ended is None:
            continue
        rows.append(Row([
            Value(str(line[0]), one_line((line[2], line[1])), kind="method"),
            Value(pretty(ended.estimate, "s")), Value(plain(ends.estimate), interval(ends.low, ends.high)),
            Value(plain(found.estimate), interval(found.low, found.high), "best" if found.estimate == best else ""),
        ]))  # fmt: skip
    label = declared(metric).label
    columns = [
        Column("Method", "precision · model", "method"), Column("Training time"), Column(label, "at its end"),
        Column(label, f"after {pretty(seconds, 's')}"),
    ]  # fmt: skip
    return Table(columns, rows, one_line(("At equal seconds", what, f"data {data}", f"hardware {hardware}")))
