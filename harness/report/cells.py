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
    "run (bootstrap). A dash is a missing number. 'best' marks the best of the table's column, 'tied' what cannot "
    "be told apart from it: the interval of the difference, paired by item or by seed, contains none (two seeds: they "
    "overlap); of times of one or two runs also what runs of the same thing differ by (two standard errors, by the "
    "noise of the machine's self-test, or by 10 % where none was measured)."
)


def metric_value(line: Line | None, *, digits: int = 4, marks: bool = True) -> Value:
    """One line of the summary as a cell, with its interval below and its mark."""
    if line is None:
        return Value()
    mark = (BEST if line["best"] else TIED if line["tied"] else "") if marks else ""
    return Value(
        pretty(line["value"], line["unit"], digits), interval(line["low"], line["high"], line["unit"]), mark
    )


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
