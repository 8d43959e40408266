"""Speed of use: time to first token, inter-token latency, prefill and decode rates, from the raw samples."""

from __future__ import annotations

from collections.abc import Sequence

from harness.analyse.statistics import Percentiles, percentiles
from harness.report.cells import method_columns, method_values, metric_value, row_kind
from harness.report.content import Content
from harness.report.document import Block, Column, Paragraph, Row, Section, Table, Value
from harness.report.numbers import pretty
from harness.report.outcomes import Key, Outcome
from harness.report.results import set_title

FIRST, BETWEEN = "time_to_first_token_seconds", "inter_token_latency_seconds"
RATES = ("prefill_tokens_per_second", "decode_tokens_per_second")
EXPLANATION = (
    "Prefill and decode are timed directly, each new token on its own. Percentiles are over all samples of all seeds."
)


def speed(content: Content) -> Section | None:
    """The section, or None where generation was not timed."""
    tables = [
        table
        for which in content.sets
        for task in content.tasks_with(RATES[1])
        if (table := _table(content, which, task)) is not None
    ]
    blocks: list[Block] = [Paragraph(EXPLANATION, "note"), *tables]
    return Section("Speed of generation", blocks) if tables else None


def _table(content: Content, which: Key, task: str) -> Table | None:
    rows = [
        Row([*method_values(outcome), *_values(content, outcome, task)], row_kind(content, outcome))
        for outcome in content.groups(which)
        if content.score(outcome.key, task, RATES[1]) is not None
    ]
    columns = [
        *method_columns(), Column("First token", "median"), Column("First token", "p90"),
        Column("Between tokens", "p50"), Column("Between tokens", "p90"), Column("Between tokens", "p99"),
        Column("Prefill", "token/s"), Column("Decode", "token/s"),
    ]  # fmt: skip
    return Table(columns, rows, f"{task} · {set_title(which)}") if rows else None


def _values(content: Content, outcome: Outcome, task: str) -> list[Value]:
    first, between = (_samples(content, outcome.key, task, name) for name in (FIRST, BETWEEN))
    return [
        _percentile(first, "median"), _percentile(first, "p90"), _percentile(between, "median"),
        _percentile(between, "p90"), _percentile(between, "p99"),
        *(metric_value(content.score(outcome.key, task, name), digits=3) for name in RATES),
    ]  # fmt: skip


def _samples(content: Content, key: Key, task: str, metric: str) -> Percentiles | None:
    line = content.score(key, task, metric)
    if line is None:
        return None
    values: Sequence[float] = content.samples(metric, line["steps"])
    return percentiles(values)


def _percentile(found: Percentiles | None, name: str) -> Value:
    return Value(pretty(getattr(found, name), "s", 3)) if found else Value()
