"""The section on objectives: what pre-training cost, what it is good for, and both at equal seconds."""

from __future__ import annotations

from collections.abc import Mapping

import pandas

from harness.analyse.curves import common_seconds, value_at
from harness.metrics import metric as declared
from harness.report.cells import BEST, mark_of, metric_value
from harness.report.content import Content, one_line
from harness.report.document import Block, Column, Figure, Paragraph, Row, Section, Table, Value
from harness.report.figures import progress
from harness.report.floors import clears, floor_of
from harness.report.numbers import plain, pretty
from harness.report.objectives import NONE, Compared, Cost, Objective, Question, compared, without_budget
from harness.report.training import utilisation_value

EXPLANATION = (
    "An objective is read with the architecture that belongs to it; 'none' is the same further training from fresh "
    "weights. Marks compare down a column, paired by item, across models. Losses of different objectives do not "
    "compare; what the same further training makes of them does."
)
HEAD = Column("Objective", "precision · model", "method")
Progress = Mapping[Objective, list[tuple[float, float]]]
"""(seconds of pre-training, answer) by objective, budgets apart, seconds rising."""


def objectives(content: Content) -> Section | None:
    """The section, or None where not at least two objectives were trained further the same way."""
    found = compared(content)
    if not found:
        return None
    blocks: list[Block] = [Paragraph(EXPLANATION, "note"), _costs(content, found.costs), _answers(content, found)]
    for number, question in enumerate(found.questions, start=1):
        progress_of = _progress(found, question)
        if sum(len(points) > 1 for points in progress_of.values()) > 1:
            blocks += [_at_equal_seconds(question, progress_of), _picture(number, question, progress_of)]
    return Section("Objectives", blocks)


def objectives_in_words(content: Content) -> list[str]:
    """A sentence per question: which objective serves it best, and whether pre-training was worth anything."""
    found = compared(content)
    sentences = []
    for question in found.questions if found else ():
        answers = found.answered(question)
        best, line = next((one, line) for one, line in answers if line["best"])
        tied = [_in_words(one) for one, other in answers if other["tied"] and one != best]
        told = f"; tied with it: {', '.join(tied)}" if tied else "; nothing is tied with it"
        label, value = declared(question[2]).label, pretty(line["value"], line["unit"])
        floor = floor_of(content, line)
        if floor is not None and not clears(content, line, floor, len(answers)):
            share = pretty(floor.share, "share")
            unsure = f"the best value, {value} of {_in_words(best)}, is not told apart from it"
            beaten = f"no objective clearly beats {floor.how} ({share})"
            sentences.append(f"{label} after {question[0]}: {beaten}; {unsure}.")
            continue
        guess = f"; {text}" if (text := _guessing(content, found, question)) else ""
        sentences.append(f"{label} after {question[0]}: best from {_in_words(best)} with {value}{told}{guess}.")
    return sentences


def _guessing(content: Content, found: Compared, question: Question) -> str:
    """What an answer without any learning is worth, where the records tell it."""
    steps = [step for _, line in found.answered(question) for step in line["steps"]]
    if question[2] == "choice_accuracy":
        chance = content.chance(steps)
        return f"chance is {pretty(chance, 'share')}" if chance else ""
    commonest = content.values("majority_share", steps) if question[2] == "classification_accuracy" else []
    return f"the commonest class alone is {pretty(commonest[0], 'share')}" if commonest else ""


def _in_words(objective: Objective) -> str:
    return f"fresh weights ({objective[1]})" if objective[0] == NONE else f"{objective[0]} ({objective[1]})"


def _costs(content: Content, costs: Mapping[Objective, Cost]) -> Table:
    rows = []
    for objective, cost in costs.items():
        text = cost.lines.get("train_bytes")
        moved = f"{plain(cost.first[1], 3)} -> {plain(cost.last[1], 3)}" if cost.first and cost.last else "-"
        rows.append(Row([
            _name(objective), metric_value(cost.lines.get("parameters"), marks=False),
            Value(f"{plain(text['value'] / 1e6, 3)} MB" if text else "-"),
            metric_value(cost.lines["train_tokens"], marks=False), Value(pretty(cost.seconds, "s")),
            metric_value(cost.lines.get("tokens_per_second"), digits=3, marks=False),
            utilisation_value(content, cost.lines, objective[2]),
            metric_value(cost.lines.get("peak_memory_bytes"), marks=False),
            Value(moved, declared(cost.first[0]).label if cost.first else ""),
        ]))  # fmt: skip
    columns = [
        HEAD, Column("Parameters"), Column("Text read"), Column("Tokens", "all that the model reads"),
        Column("Training time", "optimiser steps"), Column("Tokens/s"), Column("Utilisation", "model FLOPs"),
        Column("Peak memory"), Column("Validation", "first -> last"),
    ]  # fmt: skip
    return Table(columns, rows, "What pre-training cost")


def _answers(content: Content, found: Compared) -> Table:
    rows = [
        Row([_name(one), *(_marked(found, one, question) for question in found.questions)],
            "baseline" if one[0] == NONE else "")
        for one in found.objectives
    ]  # fmt: skip
    heads = [
        Column(declared(question[2]).label, one_line((question[0], _guessing(content, found, question))))
        for question in found.questions
    ]
    return Table([HEAD, *heads], rows, "What it is good for")


def _marked(found: Compared, objective: Objective, question: Question) -> Value:
    line = found.answers.get((objective, question))
    if line is None:
        return Value()
    value = metric_value(line, marks=False)
    return Value(value.text, value.note, mark_of(line))


def _name(objective: Objective) -> Value:
    return Value(objective[0], one_line((objective[2], objective[1])), kind="method")


def _progress(found: Compared, question: Question) -> Progress:
    points: dict[Objective, list[tuple[float, float]]] = {}
    for objective, line in found.answered(question):
        if objective in found.costs:
            seconds = found.costs[objective].seconds
            points.setdefault(without_budget(objective), []).append((seconds, line["value"]))
    return {objective: sorted(values) for objective, values in points.items()}


def _at_equal_seconds(question: Question, progress_of: Progress) -> Table:
    several = {objective: points for objective, points in progress_of.items() if len(points) > 1}
    seconds = common_seconds(several.values()) or 0.0
    at = {objective: value_at(points, seconds) for objective, points in several.items()}
    told = declared(question[2])
    choose = min if told.direction == "lower" else max
    best = choose((value for value in at.values() if value is not None), default=None)
    rows = [
        Row([_name(objective), Value(pretty(at[objective], told.unit), "", BEST if at[objective] == best else ""),
             Value(pretty(points[-1][1], told.unit), f"after {pretty(points[-1][0], 's')}")])
        for objective, points in several.items()
    ]  # fmt: skip
    columns = [HEAD, Column(told.label, f"after {pretty(seconds, 's')}"), Column(told.label, "largest budget")]
    between = "read on the line between the budgets that were measured"
    return Table(columns, rows, f"{question[0]} at equal seconds of pre-training, {between}")


def _picture(number: int, question: Question, progress_of: Progress) -> Figure:
    points = pandas.DataFrame(
        [{"objective": f"{one[0]} · {one[1]}", "seconds": seconds, "value": value}
         for one, found in progress_of.items() for seconds, value in found]
    )  # fmt: skip
    told = declared(question[2])
    caption = f"{told.label} after {question[0]}, over the seconds of pre-training; one line per objective and model."
    return progress(points, f"objectives-{number}", caption, told.label, told.unit)
