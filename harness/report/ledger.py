"""Where time and memory went: the spans of every step, means over seeds."""

from __future__ import annotations

import pandas

from harness.analyse.cost import memory_ledger, time_ledger
from harness.report.content import Content, one_line
from harness.report.document import Block, Figure, Paragraph, Section
from harness.report.figures import peaks, spans

MOST_STEPS = 80
EXPLANATION = (
    "Every step is a process of its own. Its spans are self times and sum to its wall time; loading, data preparation, "
    "evaluation and saving are never part of training time. Memory is the peak within each span, the interpreter and "
    "its libraries included."
)


def ledger(content: Content) -> Section | None:
    """The section, or None where no step left spans."""
    times, memory = _labelled(content, time_ledger(content.rows)), _labelled(content, memory_ledger(content.rows))
    if times.empty:
        return None
    blocks: list[Block] = [Paragraph(EXPLANATION, "note")]
    every = list(dict.fromkeys(times["span"]))
    for number, (kinds, what) in enumerate(_parts(times), start=1):
        blocks += _figures(times[times["kind"].isin(kinds)], memory[memory["kind"].isin(kinds)], number, what, every)
    return Section("Time ledger and memory by span", blocks)


def _figures(
    times: pandas.DataFrame, memory: pandas.DataFrame, number: int, what: str, every: list[str]
) -> list[Figure]:
    order = list(dict.fromkeys(times["label"]))
    more = "" if len(order) <= MOST_STEPS else f" The first {MOST_STEPS} of {len(order)} are shown."
    order = order[:MOST_STEPS]
    caption = f"Time by span, {what}: mean over seeds.{more}"
    found = [spans(_mean(times, "seconds", order), f"time-{number}", caption, order, every)]
    if len(memory):
        caption = f"Peak memory within spans, {what}: largest over seeds.{more}"
        data = _largest(memory, order)
        found.append(peaks(data, f"memory-{number}", caption, order, every))
    return found


def _parts(times: pandas.DataFrame) -> list[tuple[list[str], str]]:
    kinds = list(dict.fromkeys(times["kind"]))
    parts = [
        ([kind for kind in kinds if kind in ("train", "compress")], "steps that train or compress"),
        ([kind for kind in kinds if kind not in ("train", "compress", "canary")], "steps that evaluate"),
    ]
    return [part for part in parts if part[0]]


def _labelled(content: Content, table: pandas.DataFrame) -> pandas.DataFrame:
    """Add what a line is called and which panel it belongs to, in the order of the plan."""
    usual = content.sets[0][0] if content.sets else None
    other = table["model"].where(table["model"] != usual, None)
    rank = {step: number for number, step in enumerate(content.member["step"])}
    lines = zip(table["method"], table["precision"], other, strict=True)
    labels = [one_line(part for part in line if isinstance(part, str)) for line in lines]
    kinds = table["operation"].where(table["operation"] != "eval", table["task"])
    ranks = table["step"].map(rank).fillna(len(rank))
    found = table.assign(label=labels, kind=kinds.astype(object), rank=ranks, span=table["phase"])
    return found.sort_values(["rank", "step"], kind="stable")


def _mean(table: pandas.DataFrame, name: str, order: list[str]) -> pandas.DataFrame:
    kept = table[table["label"].isin(order)]
    return kept.groupby(["kind", "label", "span"], sort=False)[name].mean().reset_index()


def _largest(table: pandas.DataFrame, order: list[str]) -> pandas.DataFrame:
    kept = table[table["label"].isin(order)].assign(mebibytes=table["peak_memory_bytes"] / 2**20)
    return kept.groupby(["kind", "label", "span"], sort=False)["mebibytes"].max().reset_index()
