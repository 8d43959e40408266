"""The frontier: the largest batch and the longest sequence that fitted the memory cap."""

from __future__ import annotations

from harness.report.cells import method_columns, method_values, row_kind
from harness.report.content import Content
from harness.report.document import Column, Paragraph, Row, Section, Table, Value
from harness.report.numbers import plain, pretty
from harness.report.outcomes import Key, Outcome
from harness.report.results import set_title
from harness.report.tokenizer_speed import task_settings

TASK = "frontier"
LARGEST = {"batch": ("largest_batch", "sequences"), "sequence": ("longest_sequence", "tokens")}
EXPLANATION = (
    "Found by doubling and bisection, every probe three optimiser steps in a process of its own under the cap; an "
    "answer repeats to about the resolution of the task. On the CPU the cap counts private memory that was asked for, "
    "touched or not; the peak (of the largest training that fitted, above what its process began with) counts what is "
    "resident, code of libraries that is touched for the first time included. The ratio is to the first method of the "
    "table."
)


def limits(content: Content) -> Section | None:
    """The section, or None where no frontier was looked for."""
    tasks = content.tasks_named(TASK)
    tables = [
        table for which in content.sets for task in tasks if (table := _table(content, which, task)) is not None
    ]  # fmt: skip
    return Section("What fits", [Paragraph(EXPLANATION, "note"), *tables]) if tables else None


def limits_in_words(content: Content) -> list[str]:
    """The largest of every method in a sentence per cap and model."""
    said = []
    for which in content.sets:
        for task in content.tasks_named(TASK):
            settings = task_settings(task)
            metric, unit = LARGEST[settings["grow"]]
            lines = [(one, content.score(one.key, task, metric)) for one in content.groups(which)]
            told = ", ".join(f"{one.key[0]} {plain(line['value'])}" for one, line in lines if line is not None)
            cap = plain(settings["cap_mebibytes"])
            said += [f"{which[0]} under {cap} MiB, {metric.replace('_', ' ')} in {unit}: {told}."] if told else []
    return said


def _table(content: Content, which: Key, task: str) -> Table | None:
    settings = task_settings(task)
    metric, unit = LARGEST[settings["grow"]]
    here = [outcome for outcome in content.groups(which) if content.score(outcome.key, task, metric) is not None]
    if not here:
        return None
    first = content.score(here[0].key, task, metric)
    base = first["value"] if first else 0.0
    rows = [Row(_values(content, outcome, task, metric, base), row_kind(content, outcome)) for outcome in here]
    columns = [
        *method_columns(), Column(metric.replace("_", " ").capitalize(), unit), Column("Ratio"),
        Column("Tokens", "per step"), Column("Peak memory", "rise"), Column("Probes", "fitted of tried"),
    ]  # fmt: skip
    caption = f"{settings['grow'].capitalize()} under {plain(settings['cap_mebibytes'])} MiB · {set_title(which)}"
    return Table(columns, rows, caption)


def _values(content: Content, outcome: Outcome, task: str, metric: str, base: float) -> list[Value]:
    lines = [content.score(outcome.key, task, name) for name in (metric, "frontier_tokens", "frontier_peak_bytes")]
    largest, tokens, peak = (None if line is None else line["value"] for line in lines)
    line = lines[0]
    probes = content.observed(line["steps"], "probes") if line else None
    fitted = sum(1 for probe in probes or [] if probe["status"] == "done")
    return [
        *method_values(outcome), Value(plain(largest)),
        Value(f"{plain(largest / base, 3)} x" if largest is not None and base else "-"), Value(plain(tokens)),
        Value(pretty(peak, "B", 3)), Value(f"{fitted} of {len(probes)}" if probes else "-"),
    ]  # fmt: skip
