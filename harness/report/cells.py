"""Table cells that several sections share: a metric with its interval, a method, a precision, a mark."""

from __future__ import annotations

from harness.analyse.summary import Line
from harness.metrics import metric as declared
from harness.report.content import Content
from harness.report.document import Column, Value
from harness.report.numbers import interval, pretty, signed
from harness.report.outcomes import Outcome

BEST, TIED = "best", "tied"
INTERVALS = (
    "Brackets are 95 % intervals: over seeds (Student's t) where there are two or more, else over the items of the one "
    "run (bootstrap). A dash is a missing number. 'best' marks the best of the table's column, 'tied' what cannot be "
    "told apart from it: it is the same to six digits, or the interval of the difference, paired by item or by seed, "
    "contains none, or two seeds of each overlap or differ by no more than the spread between seeds, taken from all "
    "methods of the column together; of times of one or two runs also what runs of the same thing differ by (two "
    "standard errors, by the noise of the machine's self-test, or by 10 % where none was measured). Where every method "
    "has one seed only the items are in it, and another seed may order them differently. Where methods that differ in "
    "the length of their sequences read unequally much, none is best."
)


def metric_value(line: Line | None, *, digits: int = 4, marks: bool = True) -> Value:
    """One line of the summary as a cell, with its interval below and its mark."""
    if line is None:
        return Value()
    mark = mark_of(line) if marks else ""
    return Value(
        pretty(line["value"], line["unit"], digits), interval(line["low"], line["high"], line["unit"]), mark
    )


def mark_of(line: Line) -> str:
    """How a line stands in its column: nobody is best where several have the best value."""
    if line["best"] and not line["equal"]:
        return BEST
    return TIED if line["tied"] else ""


def difference_value(line: Line | None) -> Value:
    """The difference from the baseline as a cell, with the interval of the paired comparison below."""
    if line is None or line["difference"] is None:
        return Value()
    unit = line["unit"]
    return Value(
        signed(line["difference"], unit), interval(line["difference_low"], line["difference_high"], unit)
    )


def method_values(outcome: Outcome) -> list[Value]:
    """The first cell of every row: the method, the precision below."""
    return [Value(str(outcome.key[0]), str(outcome.key[3] or ""), kind="method")]


def method_columns() -> list[Column]:
    """The head of ``method_values``."""
    return [Column("Method", "precision", "method")]


def metric_column(name: str, note: str = "") -> Column:
    """A column for a metric, with the task (or its unit) below."""
    told = declared(name)
    unit = "" if told.unit in ("1", "share", "B", "s") else told.unit
    return Column(told.label, note or unit)


def row_kind(content: Content, outcome: Outcome) -> str:
    """How a group's row looks."""
    if outcome.failed:
        return "failed"
    if outcome.status != "done":
        return "skipped"
    return "baseline" if content.is_baseline(outcome.key) else ""
