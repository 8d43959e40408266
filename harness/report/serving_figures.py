"""The picture of serving: tokens per second and the time between tokens over the batch."""

from __future__ import annotations

from typing import Any

import altair
import pandas

from harness.report.charts import COLORS, HEIGHT, WIDTH, specification
from harness.report.document import Figure


def over_batch(points: pandas.DataFrame, number: int) -> Figure:
    """A line per method and precision; ``points`` has ``method precision batch rate milliseconds``."""
    name = f"serving-{number}"
    data = points.assign(line=points["method"] + " · " + points["precision"])
    lines = list(dict.fromkeys(data["line"]))
    sides = [
        _panel(data, f"serving_{number}_{what}", field, title, lines)
        for what, field, title in (
            ("rate", "rate", "Decoded tokens/s, whole batch"), ("latency", "milliseconds", "ms between tokens"),
        )
    ]  # fmt: skip
    caption = "Over the batch: tokens per second of all requests together, and the time that each waits between two."
    return Figure(name, caption, specification(altair.hconcat(*sides)))


def _panel(data: pandas.DataFrame, name: str, field: str, title: str, lines: list[str]) -> Any:
    batches = sorted(data["batch"].unique().tolist())
    colors = altair.Scale(domain=lines, range=[COLORS[place % len(COLORS)] for place in range(len(lines))])
    chart = altair.Chart(data, name=name, width=WIDTH, height=HEIGHT).mark_line(point={"size": 45, "filled": True})
    return chart.encode(
        x=altair.X("batch:Q", title="Requests in a batch", scale=altair.Scale(type="log", base=2),
                   axis=altair.Axis(values=batches, format="d")),
        y=altair.Y(f"{field}:Q", title=title, scale=altair.Scale(zero=True)),
        color=altair.Color("line:N", title="Method", scale=colors, legend=altair.Legend(labelLimit=360)),
        tooltip=["line:N", "batch:Q", altair.Tooltip("rate:Q", format=".4~g"),
                 altair.Tooltip("milliseconds:Q", format=".3~g")],
    )  # fmt: skip
