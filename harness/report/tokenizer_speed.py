"""How fast tokenizers encode and decode, over length, threads and batch, and what learning a vocabulary costs."""

from __future__ import annotations

import json
from typing import Any

import pandas

from harness.catalogue import task_class
from harness.contract import defaults
from harness.plan.expression import Call, parse_call
from harness.report.cells import method_columns, method_values, metric_value, row_kind
from harness.report.content import Content
from harness.report.document import Block, Bullets, Column, Paragraph, Row, Section, Table, Value
from harness.report.figures import encoding_speed, learning_cost
from harness.report.numbers import plain, pretty
from harness.report.outcomes import Key
from harness.report.results import set_title

TASK = "tokenization_speed"
RATES = ("encode_megabytes_per_second", "decode_megabytes_per_second")
LENGTHS = ("tweet", "paragraph", "file")
EXPLANATION = (
    "10^6 UTF-8 bytes of text per second, lists of ids in and out included; median over rounds of different text, "
    "brackets are bootstrap intervals over rounds. A tweet is a piece of at most 280 characters. A tokenizer runs in "
    "the library that it is meant for. The tokenizers of one column were measured one after another, not interleaved."
)
LEARNING = (
    "One training each. Seconds are those of the trainer alone; memory is the peak above what the interpreter and its "
    "libraries held, the text to learn from included."
)


def tokenizer_speed(content: Content) -> Section | None:
    """Encode and decode rates, or None where none were measured."""
    tasks = sorted(content.tasks_named(TASK), key=_place)
    tables = [
        table for which in content.sets for metric in RATES if (table := _rates(content, which, tasks, metric))
    ]
    if not tables:
        return None
    blocks: list[Block] = [Paragraph(EXPLANATION, "note")]
    flips = [text for which in content.sets for metric in RATES if (text := _winners(content, which, tasks, metric))]
    blocks += [Bullets(flips), *tables] if flips else tables
    points = _points(content, tasks)
    blocks += [encoding_speed(group, number, content.methods) for number, group in enumerate(points, start=1)]
    return Section("Speed of tokenizers", blocks)


def learning(content: Content) -> Section | None:
    """Seconds and memory of learning vocabularies, or None where none was learnt."""
    lines = _learnt(content)
    if lines.empty:
        return None
    columns = [
        Column("Technique", "", "method"), Column("Vocabulary"), Column("Learnt from"), Column("Seconds"),
        Column("Text", "MB/s"), Column("Peak memory", "rise"),
    ]  # fmt: skip
    rows = [
        Row([
            Value(variant, kind="method"), Value(plain(size)), Value(f"{plain(megabytes, 3)} MB"),
            Value(pretty(seconds, "s", 3)), Value(plain(megabytes / seconds, 3)), Value(pretty(rise, "B", 3)),
        ])
        for _, variant, size, megabytes, seconds, rise in lines.itertuples(index=False)
    ]  # fmt: skip
    blocks: list[Block] = [Paragraph(LEARNING, "note"), Table(columns, rows)]
    if lines["megabytes"].nunique() > 1:
        blocks.append(learning_cost(lines))
    return Section("Learning a vocabulary", blocks)


def task_settings(text: str) -> dict[str, Any]:
    """Every parameter of a task as it is written in rows, defaults filled in."""
    call = parse_call(text)
    return defaults(task_class(call.name).Params) | dict(call.params)


def calls_in_words(settings: dict[str, Any]) -> str:
    """``one by one`` or ``64 at a time, 2 threads``."""
    if settings["batch"] == 1:
        return "one by one"
    return f"{settings['batch']} at a time, {settings['threads']} thread{'s' * (settings['threads'] > 1)}"


def _place(task: str) -> tuple[int, int, int]:
    settings = task_settings(task)
    return (LENGTHS.index(settings["length"]), settings["batch"], settings["threads"])


def _rates(content: Content, which: Key, tasks: list[str], metric: str) -> Table | None:
    tasks = [task for task in tasks if any(content.score(one.key, task, metric) for one in content.groups(which))]
    rows = [
        Row([*method_values(one), *(metric_value(content.score(one.key, task, metric), digits=3) for task in tasks)],
            row_kind(content, one))
        for one in content.groups(which) if any(content.score(one.key, task, metric) for task in tasks)
    ]  # fmt: skip
    told = [task_settings(task) for task in tasks]
    columns = [Column(each["length"].capitalize(), calls_in_words(each)) for each in told]
    verb = metric.split("_")[0].capitalize()
    return Table([*method_columns(), *columns], rows, f"{verb}, MB/s · {set_title(which)}") if rows else None


def _winners(content: Content, which: Key, tasks: list[str], metric: str) -> str:
    """Who is fastest where, in a sentence that says whether it is the same everywhere."""
    where: dict[str, list[str]] = {}
    for task in tasks:
        lines = [line for one in content.groups(which) if (line := content.score(one.key, task, metric))]
        best = next((line for line in lines if line["best"]), None)
        if best is not None:
            settings = task_settings(task)
            where.setdefault(best["method"], []).append(f"{settings['length']} ({calls_in_words(settings)})")
    verb = metric.split("_")[0]
    if sum(map(len, where.values())) < 2:
        return ""
    if len(where) == 1:
        return f"{next(iter(where))} {verb}s fastest at every length, batch and thread count that was tried."
    parts = (f"{method} for {', '.join(places)}" for method, places in where.items())
    return f"Who {verb}s fastest depends on how: {'; '.join(parts)}."


def _points(content: Content, tasks: list[str]) -> list[pandas.DataFrame]:
    """By model: columns ``model method precision length calls direction rate``."""
    lines = [
        {"model": str(one.key[1]), "data": str(one.key[2]), "method": one.key[0], "length": settings["length"],
         "calls": calls_in_words(settings), "direction": metric.split("_")[0], "rate": line["value"]}
        for one in content.outcomes for task in tasks for metric in RATES
        if (line := content.score(one.key, task, metric)) and (settings := task_settings(task))
    ]  # fmt: skip
    if not lines:
        return []
    return [group for _, group in pandas.DataFrame(lines).groupby(["model", "data"], sort=True)]


def _learnt(content: Content) -> pandas.DataFrame:
    """One line per vocabulary that was learnt: ``stage variant vocab_size megabytes seconds rise``."""
    rows = content.done[(content.done["operation"] == "train") & content.done["sample"].isna()]
    rows = rows[rows["step"].isin(rows.loc[rows["metric"] == "corpus_bytes", "step"])]
    found = []
    for _, step in rows.groupby("step", sort=False, observed=True):
        keys = zip(step["phase"].astype(str), step["metric"].astype(str), strict=True)
        values = dict(zip(keys, step["value"].astype(float), strict=True))
        if ("", "corpus_bytes") not in values:
            continue
        stage, settings = str(step["stage"].iloc[0]), json.loads(str(step["params"].iloc[0]))
        found.append({
            "stage": stage, "variant": _without_sizes(stage), "vocab_size": int(settings["vocab_size"]),
            "megabytes": values["", "corpus_bytes"] / 1e6, "seconds": values["train", "span_seconds"],
            "rise": values["train", "peak_memory_bytes"] - values["", "runtime_memory_bytes"],
        })  # fmt: skip
    columns = ["stage", "variant", "vocab_size", "megabytes", "seconds", "rise"]
    lines = pandas.DataFrame(found, columns=columns).drop_duplicates("stage")
    return lines.sort_values(["variant", "vocab_size", "megabytes", "stage"], kind="stable")


def _without_sizes(stage: str) -> str:
    """The technique with its parameters but for the sizes that the table has columns for."""
    call = parse_call(stage)
    return str(Call(call.name, tuple(item for item in call.params if item[0] not in ("vocab_size", "corpus_bytes"))))
