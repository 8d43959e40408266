"""Compression: how far each method moved the model's predictions, paired, and what it really saves on disk."""

from __future__ import annotations

from collections.abc import Collection

from harness.analyse.cells import CHAIN
from harness.analyse.size import shrinkage
from harness.catalogue import group_of
from harness.errors import UsageError
from harness.plan.expression import parse
from harness.report.cells import (
    difference_value,
    method_columns,
    method_values,
    metric_column,
    metric_value,
    row_kind,
)
from harness.report.content import Content
from harness.report.document import Block, Column, Paragraph, Row, Section, Table, Value
from harness.report.numbers import pretty
from harness.report.outcomes import Key, Outcome
from harness.report.results import base_size, set_title

SQUEEZES = ("compression", "plugin")
SMALLER = (*SQUEEZES, "distillation")
KL = ("kl_divergence", "kl_divergence_median", "kl_divergence_p99", "kl_divergence_max", "top1_agreement")
EXPLANATION = (
    "Ordered by mean KL divergence from the reference: for a method that ends in compression the same method without "
    "it, for one that trains the untouched model; at fp32 where nothing was trained on the way to the reference, so "
    "that a 16-bit cell's divergence includes its precision's own. "
    "Near-lossless compression is told apart by it and by the paired difference in loss (always from the baseline); "
    "perplexity hardly moves. Bytes are compared with 2 bytes per parameter."
)


def compression(content: Content) -> Section | None:
    """The section, or None where nothing was compared with a reference, or nothing was made smaller."""
    if not any(compresses_weights(outcome.key) for outcome in content.outcomes):
        return None
    tables = [
        table
        for which in content.sets
        for task in content.tasks_with("kl_divergence")
        if (table := _table(content, which, task)) is not None
    ]
    if not tables:
        return None
    blocks: list[Block] = [Paragraph(EXPLANATION, "note"), *tables]
    return Section("Compression and distance from the reference", blocks)


def compresses_weights(key: Key, groups: Collection[str] = SMALLER) -> bool:
    """Whether a method compresses or distills on its way (has a stage of ``groups``); one that cannot be read may."""
    try:
        return any(group_of(stage.call.name) in groups for stage in parse(str(key[0])).stages if key[0] != "base")
    except UsageError:
        return True


def by_divergence(content: Content, which: Key, task: str) -> list[Outcome]:
    """Groups of a set that have a KL divergence on a task, the smallest first."""
    found = [(content.score(outcome.key, task, KL[0]), outcome) for outcome in content.groups(which)]
    having = [(line["value"], outcome) for line, outcome in found if line is not None]
    return [outcome for _, outcome in sorted(having, key=lambda pair: pair[0])]


def _table(content: Content, which: Key, task: str) -> Table | None:
    outcomes = by_divergence(content, which, task)
    if not outcomes:
        return None
    columns = [
        *method_columns(), *(metric_column(name) for name in KL), Column("Loss", "less the base, paired"),
        Column("Perplexity"), Column("Weights on disk"), Column("Against 16 bit", "2 B per parameter", "word"),
    ]  # fmt: skip
    rows = [Row([*method_values(one), *_values(content, which, one, task)], row_kind(content, one)) for one in outcomes]
    return Table(columns, rows, f"{task} · {set_title(which)}{base_size(content, which)}")


def _values(content: Content, which: Key, outcome: Outcome, task: str) -> list[Value]:
    key = outcome.key
    weights = content.made(key, "weight_bytes")
    last = str(key[0]).rsplit(CHAIN, 1)[-1]
    size = shrinkage(weights["value"] if weights else None, content.base_parameters(which), last)
    return [
        *(metric_value(content.score(key, task, name), digits=3, marks=name == KL[0]) for name in KL),
        difference_value(content.score(key, task, "loss")),
        metric_value(content.score(key, task, "perplexity"), marks=False),
        Value(pretty(weights["value"], "B")) if weights else Value(),
        Value(size.in_words(), kind="word") if size else Value(),
    ]
