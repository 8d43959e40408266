"""Pictures of series over nights: the values, their levels, and where the level changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair
import pandas

from harness.report.charts import COLORS, specification
from harness.report.document import Figure

IN_A_ROW = 2
STATES = ["measured", "disturbed", "machine moved"]


def panels(series: Sequence[pandas.DataFrame], titles: Sequence[list[str]]) -> Figure:
    """One small picture per series; columns ``night date commit value level state change``."""
    drawn = [
        altair.layer(*_marks(altair.Chart(points), f"history_{number}")).properties(
            width=400, height=120, title=altair.TitleParams(title[0], subtitle=title[1][:80])
        )
        for number, (points, title) in enumerate(zip(series, titles, strict=True))
    ]
    rows = [altair.hconcat(*drawn[start : start + IN_A_ROW]) for start in range(0, len(drawn), IN_A_ROW)]
    caption = "Values night by night (dots), the level of each part (line), and where it changed (rule)."
    return Figure("history", caption, specification(altair.vconcat(*rows)))


def pick_one(points: pandas.DataFrame, titles: Sequence[str], first: str) -> Figure:
    """One picture with a choice of series by name, ``first`` at first; ``points`` has the column ``series`` too."""
    choice = altair.param(
        name="picked", value=first, bind=altair.binding_select(options=list(titles), name="Series ")
    )
    marks = _marks(altair.Chart(points).transform_filter("datum.series == picked"), "any_series")
    whole = altair.layer(*marks).properties(width=720, height=220).add_params(choice)
    return Figure("any-series", "Any series by name.", specification(whole))


def _marks(base: Any, name: str) -> tuple[Any, ...]:
    """Levels, values and changes of a chart's data, under names of their own."""
    x = altair.X("night:Q", title="night", axis=altair.Axis(tickMinStep=1, format="d"))
    y = altair.Y("value:Q", title=None, scale=altair.Scale(zero=False), axis=altair.Axis(format="~s"))
    states = altair.Scale(domain=STATES, range=[COLORS[0], COLORS[4], "#bbbbbb"])
    color = altair.Color("state:N", legend=None, scale=states)
    dots = base.mark_point(filled=True, size=30).encode(
        x=x, y=y, color=color,
        tooltip=["night:Q", "date:N", "commit:N", altair.Tooltip("value:Q", format=".5~g"), "state:N"],
    )  # fmt: skip
    levels = base.mark_line(interpolate="step-after", color="#7f8790", strokeWidth=1.5).encode(x=x, y="level:Q")
    rules = base.transform_filter("datum.change").mark_rule(color=COLORS[1], strokeDash=[4, 3]).encode(x=x)
    named = zip((levels, dots, rules), ("levels", "values", "changes"), strict=True)
    return tuple(mark.properties(name=f"{name}_{part}") for mark, part in named)
