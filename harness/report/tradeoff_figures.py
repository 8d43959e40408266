"""Quality against a cost: the figure with what nothing beats on both filled, joined and named."""

from __future__ import annotations

from typing import Any

import altair
import pandas

from harness.report import beside
from harness.report.charts import HEIGHT, colored, pick_by, picked, side_by_side, specification
from harness.report.document import Figure


def frontier(
    points: pandas.DataFrame, name: str, caption: str, methods: list[str], *, x_title: str, scale: float = 1.0
) -> Figure:
    """Quality against a cost, a panel per task; ``points`` has ``task method precision x y label pareto named``."""
    data = points.assign(x=points["x"] / scale)
    pick = pick_by("method", f"pick_{name}".replace("-", "_"))
    color = colored("method", methods, set(data["method"]), "Method")
    groups = [(str(task), group) for task, group in data.groupby("task", sort=False)]
    width = {1: 460, 2: 380}.get(len(groups), 255)
    panels = [
        _frontier_panel(group, f"{name}_{number}".replace("-", "_"), task, x_title, pick, color, width)
        for number, (task, group) in enumerate(groups)
    ]
    return Figure(name, caption, specification(side_by_side(*panels)))


def _frontier_panel(
    data: pandas.DataFrame, name: str, title: str, x_title: str, pick: Any, color: Any, width: int
) -> Any:
    label, height = str(data["metric_label"].iloc[0]), HEIGHT + 40
    ends = beside.padded(data["x"].tolist(), width, 14), beside.padded(data["y"].tolist(), height, 12)
    x = altair.X("x:Q", title=x_title, scale=altair.Scale(domain=list(ends[0])))
    y = altair.Y("y:Q", title=label, scale=altair.Scale(domain=list(ends[1])))
    precisions = sorted(data["precision"].unique(), key=lambda text: (text != "fp32", str(text)))
    (left, right), (bottom, top) = ends
    data = data.sort_values(["x", "y", "label"])
    across, down = (data["x"] - left) / (right - left) * width, (top - data["y"]) / (top - bottom) * height
    marks = list(zip(across, down, strict=True))
    names = data["method"].where(data["named"], "").astype(str).tolist()
    joined = [mark for mark, in_set in zip(marks, data["pareto"], strict=True) if in_set]
    data = data.assign(named=beside.sides(marks, names, joined, width, height))
    plain = altair.Chart(data, height=height, width=width, title=title)
    dots = plain.mark_point(size=90).properties(name=name).encode(
        x=x, y=y, color=color,
        shape=altair.Shape("precision:N", title="Precision", sort=precisions),
        fillOpacity=altair.condition("datum.pareto", altair.value(0.9), altair.value(0.12)),
        fill=color,
        opacity=picked(pick, 1.0),
        tooltip=[
            "label:N", altair.Tooltip("x:Q", title=x_title, format=",.4~g"),
            altair.Tooltip("y:Q", title=label, format=".5~g"), altair.Tooltip("pareto:N", title="in the Pareto set"),
        ],
    ).add_params(pick)  # fmt: skip
    line = plain.mark_line(interpolate="linear", strokeDash=[4, 3], color="#888", opacity=0.8).encode(x=x, y=y)
    edge = line.transform_filter("datum.pareto")
    named = [_names(plain, x, y, side) for side in beside.SIDES if (data["named"] == side).any()]
    return altair.layer(edge, dots, *named)


def _names(plain: Any, x: Any, y: Any, side: str) -> Any:
    """The names that stand on one side of their marks."""
    at = beside.SIDES[side]
    texts = plain.mark_text(align=at.align, baseline="middle", dx=at.dx, dy=at.dy, fontSize=beside.FONT_SIZE)
    return texts.encode(x=x, y=y, text="method:N").transform_filter(f"datum.named === '{side}'")
