"""One line per method, precision, task and metric: mean over seeds, interval, distance to the baseline, tied with best.

Between the rows and every table that is printed. Nothing here compares what did not run on the same model, data and
hardware.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas

from harness.analyse.cells import GROUP, deciding, members
from harness.analyse.paired import ItemScores, difference
from harness.analyse.statistics import Interval, bootstrap_median, mean_interval
from harness.metrics import metric as declared

SET = ("model", "data", "hardware")
KEYS = (*GROUP, "operation", "stage", "task", "metric")
COLUMNS = (
    *KEYS, "unit", "value", "low", "high", "interval", "seeds", "lowest", "highest", "samples",
    "difference", "difference_low", "difference_high", "p_value", "best", "tied", "steps",
)  # fmt: skip


def summarize(
    frame: pandas.DataFrame,
    items: pandas.DataFrame,
    plan: Mapping[str, Any] | None = None,
    *,
    baseline: str | None = None,
    installation: str | None = None,
) -> pandas.DataFrame:
    """Summary of the deciding ``done`` records (columns: ``COLUMNS``); intervals at 95 %.

    ``interval`` says over what: ``seeds`` (t), ``items`` or ``repeats`` (bootstrap), or None. ``difference`` is this
    less the baseline, paired by item where there are items. ``best`` and ``tied`` are set among the methods of one
    model, data and hardware, for the metrics of tasks that have a better side.
    """
    rows = deciding(frame, installation)
    rows = rows[rows["status"] == "done"]
    member = members(rows if not (plan or {}).get("cells") else frame, plan)
    values = scalars(rows, member)
    if values.empty:
        return pandas.DataFrame(columns=list(COLUMNS))
    baseline = baseline or ((plan or {}).get("suite") or {}).get("baseline")
    scores = ItemScores(items)
    samples = _samples(rows)
    lines = [_line(key, group, scores, samples) for key, group in values.groupby(list(KEYS), dropna=False, sort=True)]
    table = pandas.DataFrame(lines, columns=list(COLUMNS)).astype({"tied": object, "best": object})
    for _, same in table[table["operation"] == "eval"].groupby([*SET, "task", "metric"], dropna=False):
        _against_baseline(table, same, baseline, scores)
        _mark_best(table, same, scores)
    return table


def scalars(rows: pandas.DataFrame, member: pandas.DataFrame) -> pandas.DataFrame:
    """Scalar values of steps with the coordinates of every cell that they belong to, each step once per group."""
    kept = rows[rows["sample"].isna() & (rows["phase"] == "") & (rows["metric"] != "status")]
    own = ["step", "operation", "stage", "task", "metric", "unit", "value"]
    kept = kept[own].astype(dict.fromkeys(own[:-1], object)).dropna(subset=["value"])
    joined = kept.merge(member[[*GROUP, "step"]].drop_duplicates(), on="step", how="inner")
    return joined.where(joined.notna(), None).astype({"value": float})


def baseline_of(same: pandas.DataFrame, precision: str | None, baseline: str | None) -> pandas.Series | None:
    """The baseline's line at this precision, else at fp32, else at any."""
    found = same[same["method"] == baseline]
    for wanted in (precision, "fp32"):
        exact = found[found["precision"] == wanted]
        if len(exact):
            return exact.iloc[0]
    return found.iloc[0] if len(found) else None


def _line(key: tuple[Any, ...], group: pandas.DataFrame, scores: ItemScores, samples: Any) -> dict[str, Any]:
    named = {name: None if pandas.isna(value) else value for name, value in zip(KEYS, key, strict=True)}
    steps, values = group["step"].tolist(), group["value"].tolist()
    found = mean_interval(values)
    assert found is not None
    repeats = [value for step in steps for value in samples.get((step, named["metric"]), ())]
    if len(values) == 1:
        found = _within(found, scores.interval(named["metric"], steps) or bootstrap_median(repeats))
    return {
        **named, "unit": group["unit"].iloc[0], "value": found.estimate, "low": found.low, "high": found.high,
        "interval": found.kind if found.low is not None else None, "seeds": len(values), "lowest": min(values),
        "highest": max(values), "samples": len(repeats), "steps": tuple(steps), "tied": None, "best": None,
    }  # fmt: skip


def _within(single: Interval, inner: Interval | None) -> Interval:
    """The recorded value with the interval inside the one run, where that says something about this value."""
    if inner is None or inner.low is None or inner.high is None or not inner.low <= single.estimate <= inner.high:
        return single
    return Interval(single.estimate, inner.low, inner.high, inner.n, inner.kind)


def _samples(rows: pandas.DataFrame) -> dict[tuple[str, str], list[float]]:
    kept = rows[rows["sample"].notna() & (rows["operation"] == "eval")][["step", "metric", "value"]].dropna()
    kept = kept.astype({"step": str, "metric": str})
    return {(str(key[0]), str(key[1])): group.tolist() for key, group in kept.groupby(["step", "metric"])["value"]}


def _against_baseline(table: pandas.DataFrame, same: pandas.DataFrame, baseline: str | None, scores: ItemScores) -> None:
    for index, line in same.iterrows():
        reference = baseline_of(same, line["precision"], baseline)
        if reference is None or reference["steps"] == line["steps"]:
            continue
        found, p_value = compare(line, reference, scores)
        if found is not None:
            changed = ["difference", "difference_low", "difference_high", "p_value"]
            table.loc[index, changed] = [found.estimate, found.low, found.high, p_value]


def _mark_best(table: pandas.DataFrame, same: pandas.DataFrame, scores: ItemScores) -> None:
    direction = declared(str(same["metric"].iloc[0])).direction
    if direction == "none" or len(same) < 2:
        return
    best = same["value"].idxmin() if direction == "lower" else same["value"].idxmax()
    for index, line in same.iterrows():
        table.at[index, "best"] = index == best
        table.at[index, "tied"] = index == best or is_tied(line, same.loc[best], scores)


def compare(first: pandas.Series, second: pandas.Series, scores: ItemScores) -> tuple[Interval | None, float | None]:
    """first - second: paired by item where both have items, else the plain difference without an interval."""
    one, other = (scores.scores(line["metric"], line["steps"]) for line in (first, second))
    if one is not None and other is not None:
        found, p_value = difference(first["metric"], one, other)
        if found is not None:
            return found, p_value
    return Interval(first["value"] - second["value"], None, None, 1, "seeds"), None


def is_tied(line: pandas.Series, best: pandas.Series, scores: ItemScores) -> bool:
    """Whether the difference to the best cannot be told from none.

    Paired interval over items contains 0; without items the intervals overlap. In both cases runs whose seeds overlap
    (lowest to highest) are tied too. Without any interval only the same value is tied.
    """
    if min(line["seeds"], best["seeds"]) > 1 and _overlap(line, best, "lowest", "highest"):
        return True
    metric = "loss" if line["metric"] == "perplexity" else line["metric"]
    one, other = (scores.scores(metric, entry["steps"]) for entry in (line, best))
    if one is not None and other is not None:
        found, _ = difference(metric, one, other)
        if found is not None and found.low is not None:
            return bool(found.contains(0.0))
    if pandas.notna(line["low"]) and pandas.notna(best["low"]):
        return _overlap(line, best, "low", "high")
    return bool(line["value"] == best["value"])


def _overlap(first: pandas.Series, second: pandas.Series, low: str, high: str) -> bool:
    return bool(first[low] <= second[high] and second[low] <= first[high])
