"""Tokenizers: how they cut text, what they lose, what a language pays, and the model that each leads to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas

from harness.analyse.summary import Line
from harness.report.cells import method_columns, method_values, metric_column, metric_value, row_kind
from harness.report.content import Content
from harness.report.document import Column, Paragraph, Row, Section, Table, Value
from harness.report.figures import fertility
from harness.report.numbers import plain, pretty
from harness.report.outcomes import Key, Outcome
from harness.report.results import set_title

CUTTING = (
    "bytes_per_token", "fertility", "unknown_share", "byte_token_share", "vocabulary_use", "round_trip_share",
    "hostile_round_trip_share",
)  # fmt: skip
EXPLANATION = (
    "Counted on the paragraphs of held-out text. A word is what stands between white space. Byte tokens stand for "
    "bytes and not for characters: byte fallback, or pieces that are not UTF-8 by themselves. A round trip is exact "
    "where encode and decode give the text back to the letter."
)
LOSSES = (
    "Hostile texts by category: how many of them come back to the letter; 'changed' came back otherwise, 'refused' is "
    "an error of the library. What was lost is listed below the table in the page."
)
PREMIUM = (
    "The same sentences in two languages (source and target of the data). The premium is the tokens of the target "
    "language over those of the source language; brackets are bootstrap intervals over sentences."
)
MOST_LOST = 60


def vocabularies(content: Content) -> Section | None:
    """How text is cut and what comes back, or None where no tokenizer was measured."""
    tasks = content.tasks_named("tokenization")
    tables = [table for which in content.sets for task in tasks if (table := _cutting(content, which, task))]
    if not tables:
        return None
    losses = [table for which in content.sets for task in tasks if (table := _losses(content, which, task))]
    return Section("Tokenizers", [Paragraph(EXPLANATION, "note"), *tables, Paragraph(LOSSES, "note"), *losses])


def lost(content: Content) -> Section | None:
    """Every hostile text that did not come back, both sides; None where all did or none was tried."""
    lines = [
        (outcome, name, case)
        for outcome, _, told in _told(content)
        for name, found in told.items()
        for case in found["lost"]
    ]
    if not lines:
        return None
    rows = [
        Row([*method_values(outcome), Value(name, kind="word"), Value(case["text"], kind="word"),
             Value(case["back"] if case["outcome"] == "changed" else f"refused: {case['back']}", kind="word")])
        for outcome, name, case in lines[:MOST_LOST]
    ]  # fmt: skip
    columns = [*method_columns(), *(Column(title, kind="word") for title in ("Category", "Text", "Came back as"))]
    caption = f"{len(lines)} losses" + (f", the first {MOST_LOST}" if len(lines) > MOST_LOST else "")
    return Section("What tokenizers lost", [Table(columns, rows, caption)], folded=True)


def languages(content: Content) -> Section | None:
    """What one language pays against another, or None where no parity was measured."""
    tasks = content.tasks_named("language_parity")
    tables = [table for which in content.sets for task in tasks if (table := _premiums(content, which, task))]
    if not tables:
        return None
    points = _fertility(content, tasks)
    figure = fertility(points) if len(points) else None
    return Section("Languages", [Paragraph(PREMIUM, "note"), *tables, *([figure] if figure else [])])


def cutting_in_words(content: Content, which: Key) -> list[str]:
    """Which tokenizer needs the fewest tokens of those that give text back, and which do not."""
    found = []
    for task in content.tasks_with("round_trip_share"):
        back = _lines(content, which, task, "round_trip_share")
        lossy = [f"{line['method']} ({pretty(line['value'], 'share', 3)})" for line in back if line["value"] < 1]
        lines = _lines(content, which, task, "bytes_per_token")
        best = next((line for line in lines if line["best"]), None)
        if best is not None:
            among = " of those that give every paragraph back" if lossy else ""
            tied = [line["method"] for line in lines if line["tied"] and line is not best]
            also = f"; tied with it: {', '.join(tied)}" if tied else "; nothing else is tied with it"
            rate = f"{plain(best['value'], 3)} bytes per token"
            found.append(f"Fewest tokens{among}: {best['method']} with {rate}{also}.")
        if lossy:
            found.append(f"Paragraphs do not all come back to the letter from {', '.join(lossy)}.")
    return found


def premiums_in_words(content: Content, which: Key) -> list[str]:
    """How many times the tokens of the source language the target language needs."""
    found = []
    for task in content.tasks_with("token_parity"):
        ordered = sorted(_lines(content, which, task, "token_parity"), key=lambda line: line["value"])
        if ordered:
            ends = [f"{plain(line['value'], 3)} ({line['method']})" for line in (ordered[0], ordered[-1])]
            span = " to ".join(ends[: len(ordered)])
            found.append(f"The target language needs {span} times the tokens of the source language.")
    return found


def _lines(content: Content, which: Key, task: str, metric: str) -> list[Line]:
    return [line for one in content.groups(which) if (line := content.score(one.key, task, metric)) is not None]


def _cutting(content: Content, which: Key, task: str) -> Table | None:
    names = ("vocabulary_size", *CUTTING)
    rows = [
        Row([*method_values(one), *(metric_value(content.score(one.key, task, name), digits=3) for name in names)],
            row_kind(content, one))
        for one in content.groups(which) if content.score(one.key, task, CUTTING[0]) is not None
    ]  # fmt: skip
    return Table([*method_columns(), *map(metric_column, names)], rows, set_title(which)) if rows else None


def _losses(content: Content, which: Key, task: str) -> Table | None:
    told = [(one, found) for one, whose, found in _told(content) if whose == task and content.set_of(one.key) == which]
    if not told:
        return None
    names = list(told[0][1])
    rows = [Row([*method_values(one), *(_outcome(found[name]) for name in names)]) for one, found in told]
    columns = [*method_columns(), *(Column(name.capitalize(), f"of {_total(told[0][1][name])}") for name in names)]
    return Table(columns, rows, f"Hostile texts that come back · {set_title(which)}")


def _told(content: Content) -> list[tuple[Outcome, str, Mapping[str, Any]]]:
    """(group, task, what its record says of hostile texts) of every group that was tried on them."""
    found = []
    for outcome in content.outcomes:
        for task in content.tasks_named("tokenization"):
            line = content.score(outcome.key, task, CUTTING[0])
            told = content.observed(line["steps"], "hostile") if line else None
            if told:
                found.append((outcome, task, told))
    return found


def _outcome(found: Mapping[str, Any]) -> Value:
    rest = [f"{found[name]} {name}" for name in ("changed", "refused") if found[name]]
    return Value(str(found["exact"]), ", ".join(rest))


def _total(found: Mapping[str, Any]) -> int:
    return int(found["exact"] + found["changed"] + found["refused"])


def _premiums(content: Content, which: Key, task: str) -> Table | None:
    names = ("token_parity", "source_fertility", "target_fertility")
    rows = [
        Row([*method_values(one), *(metric_value(content.score(one.key, task, name), digits=3) for name in names)],
            row_kind(content, one))
        for one in content.groups(which) if content.score(one.key, task, names[0]) is not None
    ]  # fmt: skip
    return Table([*method_columns(), *map(metric_column, names)], rows, set_title(which)) if rows else None


def _fertility(content: Content, tasks: Sequence[str]) -> pandas.DataFrame:
    """Columns ``method where language fertility``."""
    lines = [
        {"method": one.key[0], "where": content.where(content.set_of(one.key)), "language": side,
         "fertility": line["value"]}
        for one in content.outcomes for task in tasks for side in ("source", "target")
        if (line := content.score(one.key, task, f"{side}_fertility")) is not None
    ]  # fmt: skip
    return pandas.DataFrame(lines)
