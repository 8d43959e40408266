"""Tuning: what every trial reached, which value was chosen, and how much a method depends on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas

from harness.plan.expression import value_text
from harness.report.cautions import at_the_edge
from harness.report.cells import BEST
from harness.report.content import Content, one_line
from harness.report.document import Block, Column, Paragraph, Row, Section, Table, Value
from harness.report.numbers import plain

SET = ("method", "model", "data", "precision", "hardware")
EXPLANATION = (
    "Each method got as many trials as any other, on a seed that no cell has; the loss on the validation split at the "
    "end of a trial chose the value. Sensitivity is what the worst of the trials lost against the best; it is "
    "unbounded where one failed. Where the best value is the smallest or the largest that was tried, a better one may "
    "lie beyond."
)


def tuning(content: Content) -> Section | None:
    """The section, or None where nothing was tuned."""
    trials = content.plan.get("trials") or []
    if not trials:
        return None
    blocks: list[Block] = [Paragraph(EXPLANATION, "note")]
    for parameter in dict.fromkeys(trial["parameter"] for trial in trials):
        blocks.append(_table(parameter, [trial for trial in trials if trial["parameter"] == parameter]))
    return Section("Tuning", blocks)


def without_trials(frame: pandas.DataFrame, plan: Mapping[str, Any]) -> pandas.DataFrame:
    """The rows without those of trials, which are no cell's: they are in the section on tuning alone."""
    of_cells = {step for cell in plan.get("cells") or [] for step in cell.get("steps") or []}
    trials = {trial["step"] for trial in plan.get("trials") or []} - of_cells
    return frame[~frame["step"].isin(trials)] if trials else frame


def _table(parameter: str, trials: Sequence[Mapping[str, Any]]) -> Table:
    sets: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for trial in trials:
        sets.setdefault(tuple(trial[name] for name in SET), []).append(trial)
    most = max(map(len, sets.values()))
    rows = []
    for key, found in sets.items():
        cells = [_cell(trial) for trial in found] + [Value()] * (most - len(found))
        rows.append(Row([Value(str(key[0]), one_line((key[3], key[1])), kind="method"), *cells, _sensitivity(found)]))
    columns = [
        Column("Method", "precision · model", "method"),
        *(Column(f"Trial {number}", "validation loss" if number == 1 else "") for number in range(1, most + 1)),
        Column("Sensitivity", "nats"),
    ]  # fmt: skip
    return Table(columns, rows, f"Trials of {parameter}")


def _cell(trial: Mapping[str, Any]) -> Value:
    loss = "failed" if trial["loss"] is None else plain(trial["loss"])
    return Value(loss, f"at {value_text(trial['value'])}", BEST if trial["chosen"] else "")


def _sensitivity(trials: Sequence[Mapping[str, Any]]) -> Value:
    losses = [trial["loss"] for trial in trials if trial["loss"] is not None]
    if len(losses) < len(trials):
        return Value("unbounded", f"{len(trials) - len(losses)} of {len(trials)} failed")
    if len(losses) < 2:
        return Value()
    edge = "best at the edge" if at_the_edge(trials) else ""
    return Value(f"+{plain(max(losses) - min(losses), 3)}", edge)
