"""What cells cost: seconds and bytes summed over the steps that made them, and where the time and memory went."""

from __future__ import annotations

import pandas

from harness.analyse.cells import AXES, GROUP

MAKES = ("train", "compress")


def making_cost(rows: pandas.DataFrame, member: pandas.DataFrame) -> pandas.DataFrame:
    """Per cell, what its train and compress steps cost together, those of its method's prefixes included.

    Columns ``cell``, the axes, ``seconds`` (sum), ``peak_memory_bytes`` (largest), ``steps`` (how many were measured).
    A cell that nothing was trained or compressed for costs nothing and is absent; a step without a number makes the
    sum missing rather than smaller. What made the model itself (a recipe) is not the method's cost.
    """
    kept = rows[rows["operation"].isin(MAKES) & rows["sample"].isna() & (rows["phase"] == "")]
    wide = kept.astype({"metric": str, "step": str}).pivot_table(
        index="step", columns="metric", values="value", aggfunc="first"
    )
    wide = wide.reindex(columns=["wall_seconds", "peak_memory_bytes"])
    making = rows.loc[(rows["metric"] == "status") & rows["operation"].isin(MAKES), ["step", "model"]].astype(str)
    making = making.drop_duplicates().rename(columns={"model": "made_of"})
    every = member.merge(making, on="step").merge(wide, left_on="step", right_index=True, how="left")
    grouped = every[every["made_of"] == every["model"]].groupby(["cell", *AXES], dropna=False)
    cost = grouped.agg(
        seconds=("wall_seconds", lambda values: values.sum(skipna=False)),
        peak_memory_bytes=("peak_memory_bytes", "max"),
        steps=("step", "size"),
    )
    return cost.reset_index()


def time_ledger(rows: pandas.DataFrame) -> pandas.DataFrame:
    """Seconds of every span of every step; the spans of a step sum to its wall time."""
    return _by_span(rows, "span_seconds", "seconds")


def memory_ledger(rows: pandas.DataFrame) -> pandas.DataFrame:
    """Peak resident bytes within every span of every step."""
    return _by_span(rows, "peak_memory_bytes", "peak_memory_bytes")


def _by_span(rows: pandas.DataFrame, metric: str, name: str) -> pandas.DataFrame:
    columns = [*GROUP, "seed", "operation", "stage", "task", "step", "phase", "value"]
    kept = rows[(rows["metric"] == metric) & (rows["phase"] != "") & rows["sample"].isna()][columns]
    texts = [column for column in columns if column not in ("seed", "value")]
    return kept.astype(dict.fromkeys(texts, object)).rename(columns={"value": name}).reset_index(drop=True)
