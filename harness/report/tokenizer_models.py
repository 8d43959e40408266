"""The model that a tokenizer leads to: bits per byte after equally many bytes of text, and what they cost."""

from __future__ import annotations

from collections.abc import Mapping

import pandas

from harness.analyse.cells import CHAIN
from harness.analyse.statistics import mean_interval
from harness.analyse.summary import Line
from harness.catalogue import adapter_class
from harness.errors import UsageError
from harness.report.cells import method_columns, method_values, metric_value, row_kind
from harness.report.content import Content
from harness.report.document import Block, Column, Paragraph, Row, Section, Table, Value
from harness.report.numbers import interval, plain, pretty
from harness.report.outcomes import Key, Outcome
from harness.report.results import set_title
from harness.report.tradeoff_figures import frontier

QUALITY = "bits_per_byte"
EXPLANATION = (
    "Models of one architecture over different tokenizers, trained on equally many bytes of the same text. Bits per "
    "byte compare them; losses per token do not. Where a tokenizer loses text, its model predicts less than the text: "
    "its bits per byte are not comparable, and are marked. Cost is the time of the optimiser steps over the text that "
    "they read."
)


def tokenizer_models(content: Content) -> Section | None:
    """The section, or None where no models over different tokenizers were scored."""
    tables, pictures = [], []
    for number, which in enumerate(content.sets, start=1):
        outcomes = [one for one in content.groups(which) if tokenizer_of(one.key)]
        if len({tokenizer_of(one.key) for one in outcomes}) < 2:
            continue
        for task in content.tasks_with(QUALITY):
            table = _table(content, which, outcomes, task)
            tables += [table] if table else []
            points = _points(content, outcomes, task)
            if len(points) > 1:
                pictures.append(_picture(points, content, which, number))
    blocks: list[Block] = [Paragraph(EXPLANATION, "note"), *tables, *pictures]
    return Section("Models over tokenizers", blocks) if tables else None


def _table(content: Content, which: Key, outcomes: list[Outcome], task: str) -> Table | None:
    rows = [
        Row([*method_values(one), *_values(content, one, task)], row_kind(content, one))
        for one in outcomes if content.score(one.key, task, QUALITY) is not None
    ]  # fmt: skip
    columns = [
        *method_columns(), Column("Bits per byte", task), Column("Text comes back", "share of paragraphs"),
        Column("Text read"), Column("Tokens"), Column("Bytes per token", "training text"), Column("Cost", "s per MB"),
        Column("Parameters"),
    ]  # fmt: skip
    return Table(columns, rows, set_title(which)) if rows else None


def _values(content: Content, outcome: Outcome, task: str) -> list[Value]:
    lines = _trained(content, outcome)
    back = _tokenizer_line(content, outcome, "round_trip_share")
    quality = metric_value(content.score(outcome.key, task, QUALITY))
    if back is not None and back["value"] < 1:
        quality = Value(quality.text, quality.note, "not comparable")
    text, tokens = (lines[name]["value"] if name in lines else None for name in ("train_bytes", "train_tokens"))
    parameters = lines.get("parameters")
    return [
        quality, metric_value(back, digits=3, marks=False),
        Value(f"{plain(text / 1e6, 3)} MB" if text else "-"), Value(pretty(tokens) if tokens else "-"),
        Value(plain(text / tokens, 3) if text and tokens else "-"), _cost(content, lines),
        Value(pretty(parameters["value"]) if parameters else "-"),
    ]  # fmt: skip


def _cost(content: Content, lines: Mapping[str, Line]) -> Value:
    """Seconds of training per megabyte of text, over seeds: tokens per byte over tokens per second."""
    rate, text, tokens = (lines.get(name) for name in ("tokens_per_second", "train_bytes", "train_tokens"))
    if rate is None or text is None or tokens is None:
        return Value()
    per_megabyte = 1e6 * tokens["value"] / text["value"]
    found = mean_interval([per_megabyte / value for value in content.values("tokens_per_second", rate["steps"])])
    if found is None:
        return Value()
    return Value(plain(found.estimate, 3), interval(found.low, found.high))


def _points(content: Content, outcomes: list[Outcome], task: str) -> pandas.DataFrame:
    """Bits per byte against the speed of the tokenizer, of those that lose nothing."""
    lines = []
    for one in outcomes:
        quality = content.score(one.key, task, QUALITY)
        speed = _tokenizer_line(content, one, "encode_megabytes_per_second")
        back = _tokenizer_line(content, one, "round_trip_share")
        if quality and speed and not (back and back["value"] < 1):
            lines.append({
                "task": task, "metric_label": "Bits per byte of the model", "method": one.key[0],
                "precision": str(one.key[3]), "x": speed["value"], "y": quality["value"],
                "label": f"{tokenizer_of(one.key)} · {one.key[3]}", "named": True,
            })  # fmt: skip
    points = pandas.DataFrame(lines)
    if len(points):
        points["pareto"] = [not _beaten(point, points) for point in points.itertuples()]
    return points


def _beaten(point: object, points: pandas.DataFrame) -> bool:
    x, y = getattr(point, "x"), getattr(point, "y")  # noqa: B009
    better = (points["x"] >= x) & (points["y"] <= y) & ((points["x"] > x) | (points["y"] < y))
    return bool(better.any())


def _picture(points: pandas.DataFrame, content: Content, which: Key, number: int) -> Block:
    return frontier(
        points, f"bits-per-byte-against-speed-{number}",
        f"Bits per byte of the model against how fast its tokenizer encodes paragraphs one by one, {set_title(which)}.",
        content.methods, x_title="Encode, MB/s",
    )  # fmt: skip


def _trained(content: Content, outcome: Outcome) -> Mapping[str, Line]:
    return next(iter(content.trained(outcome.key).values()), {})


def _tokenizer_line(content: Content, outcome: Outcome, metric: str) -> Line | None:
    """The line of a metric of the tokenizer alone, measured in the same suite on the same data, in its own cell."""
    wanted = tokenizer_of(outcome.key)
    task = "tokenization_speed" if metric.endswith("per_second") else "tokenization"
    for other in content.outcomes:
        if other.key[0] == wanted and other.key[2] == outcome.key[2]:
            tasks = [name for name in content.tasks_named(task) if content.score(other.key, name, metric)]
            found = content.score(other.key, task if task in tasks else tasks[0], metric) if tasks else None
            if found is not None:
                return found
    return None


def tokenizer_of(key: Key) -> str | None:
    """The stages of a method that make its tokenizer, where something follows them."""
    stages = str(key[0]).split(CHAIN)
    made = 0
    while made < len(stages) and _gives_tokenizer(stages[made]):
        made += 1
    return CHAIN.join(stages[:made]) if 0 < made < len(stages) else None


def _gives_tokenizer(stage: str) -> bool:
    try:
        return adapter_class(stage.split("(")[0].strip()).gives == {"tokenizer"}
    except UsageError:
        return False
