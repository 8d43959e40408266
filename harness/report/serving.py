"""Serving: throughput over the batch, what a request keeps in memory, long prompts, and what merging adapters gives."""

from __future__ import annotations

import pandas

from harness.report.cells import method_columns, method_values, row_kind
from harness.report.content import Content, one_line
from harness.report.document import Block, Bullets, Column, Paragraph, Row, Section, Table, Value
from harness.report.numbers import interval, plain, pretty
from harness.report.outcomes import Outcome
from harness.report.results import set_title
from harness.report.served import (
    BETWEEN,
    DECODE,
    EXPECTED,
    FIRST,
    KEPT,
    PEAK,
    PER_TOKEN,
    Load,
    Pair,
    Series,
    by_batch,
    by_length,
    ends,
    further_request,
    loads_of,
    merges,
    number,
    speed_up,
)
from harness.report.serving_figures import over_batch
from harness.report.serving_words import serving_in_words

GIB = 2**30
EXPLANATION = (
    "All prompts of a batch begin and end together. Tokens per second are those of the whole batch; the time between "
    "tokens (median) is what one request sees. The key-value cache is measured on the live cache after a generation; "
    "by arithmetic it is 2 x layers x key-value heads x head size x tokens x bytes of a value (4 at fp32, 2 "
    "otherwise). llama.cpp adds a dozen bytes of its own to each token. Peak memory is the process's above what its "
    "libraries took, the weights included; what a further request takes is the straight line from the smallest to the "
    "largest batch."
)
MERGED = (
    "Merged over unmerged, decoded tokens per second with a bootstrap over the repeats of both; the two ran at "
    "different times. The difference of logits is the largest over 256 fixed tokens."
)


def serving(content: Content) -> Section | None:
    """The section, or None where no batches, no prompt lengths and no merged adapters were compared."""
    batches, lengths, pairs = by_batch(content), by_length(content), _measured(content)
    if not batches and not lengths and not pairs:
        return None
    blocks: list[Block] = [Bullets(serving_in_words(content)), Paragraph(EXPLANATION, "note")]
    for place, series in enumerate(batches, start=1):
        blocks += [_rates(content, series), over_batch(_points(content, series), place)]
        blocks.append(_memory(content, series))
    blocks += [_lengths(content, series) for series in lengths]
    if pairs:
        blocks += [Paragraph(MERGED, "note"), _merging(content, pairs)]
    return Section("Serving", blocks)


def _measured(content: Content) -> list[Pair]:
    return [pair for pair in merges(content) if _shared(content, pair)]


def _shared(content: Content, pair: Pair) -> list[Load]:
    """Loads at which both were measured."""
    return [load for load in loads_of(content) if speed_up(content, pair, load) is not None]


def _rates(content: Content, series: Series) -> Table:
    """Tokens per second by batch, the time between tokens below."""
    columns = [*method_columns(), *(Column(f"Batch {load.batch}", "token/s") for load in series.loads)]
    rows = [
        Row([*method_values(one), *(_rate(content, one, load) for load in series.loads)], row_kind(content, one))
        for one in series.groups
    ]
    first = series.loads[0]
    what = f"Decoded tokens per second, the time between tokens below · {first.prompt} tokens read, {first.new} written"
    return Table(columns, rows, f"{what} · {set_title(series.which)}")


def _rate(content: Content, outcome: Outcome, load: Load) -> Value:
    rate, between = (number(content, outcome, load, name) for name in (DECODE, BETWEEN))
    return Value() if rate is None else Value(plain(rate, 3), pretty(between, "s", 3))


def _memory(content: Content, series: Series) -> Table:
    """What a request keeps, and what the process takes at the smallest and the largest batch."""
    first, last = series.loads[0], series.loads[-1]
    columns = [
        *method_columns(), Column("Key-value cache", "a token"), Column("By arithmetic", "a token"),
        Column("Key-value cache", f"a request of {first.prompt} + {first.new}"),
        Column("Requests", "in 1 GiB of cache"),
        Column("Peak memory", f"batch {first.batch}"), Column("Peak memory", f"batch {last.batch}"),
        Column("Peak memory", "a further request"),
    ]  # fmt: skip
    rows = [
        Row([*method_values(one), *_kept(content, one, ends(content, one, series)[1]), *_peaks(content, one, series)],
            row_kind(content, one))
        for one in series.groups
    ]  # fmt: skip
    return Table(columns, rows, f"Memory of serving · {set_title(series.which)}")


def _kept(content: Content, outcome: Outcome, load: Load) -> list[Value]:
    per_token, kept, expected = (number(content, outcome, load, name) for name in (PER_TOKEN, KEPT, EXPECTED))
    if per_token is None or kept is None:
        return [Value()] * 4
    request = kept / load.batch
    arithmetic = Value() if expected is None else Value(pretty(per_token * expected / kept, "B", 3))
    return [Value(pretty(per_token, "B", 3)), arithmetic, Value(pretty(request, "B", 3)), Value(plain(GIB // request))]


def _peaks(content: Content, outcome: Outcome, series: Series) -> list[Value]:
    peaks = [number(content, outcome, load, PEAK) for load in (series.loads[0], series.loads[-1])]
    return [Value(pretty(value, "B", 3)) for value in (*peaks, further_request(content, outcome, series))]


def _lengths(content: Content, series: Series) -> Table:
    """A row for each method and length of the prompt."""
    columns = [
        *method_columns(), Column("Prompt", "tokens"), Column("First token", "median"),
        Column("Between tokens", "median"), Column("Decode", "token/s"), Column("Key-value cache", "whole batch"),
        Column("Key-value cache", "over arithmetic"), Column("Peak memory"),
    ]  # fmt: skip
    rows = [
        Row([*method_values(one), *_at_length(content, one, load)], row_kind(content, one))
        for one in series.groups for load in series.loads if number(content, one, load, DECODE) is not None
    ]  # fmt: skip
    batch = series.loads[0].batch
    return Table(columns, rows, one_line((f"Length of the prompt, batch {batch}", set_title(series.which))))


def _at_length(content: Content, outcome: Outcome, load: Load) -> list[Value]:
    names = (FIRST, BETWEEN, DECODE, KEPT, EXPECTED, PEAK)
    first, between, decode, kept, expected, peak = (number(content, outcome, load, name) for name in names)
    over = Value() if not kept or not expected else Value(f"{plain(kept / expected, 3)} x")
    return [
        Value(plain(load.prompt)), Value(pretty(first, "s", 3)), Value(pretty(between, "s", 3)),
        Value(plain(decode, 3)), Value(pretty(kept, "B", 3)), over, Value(pretty(peak, "B", 3)),
    ]  # fmt: skip


def _merging(content: Content, pairs: list[Pair]) -> Table:
    loads = list(dict.fromkeys(load for pair in pairs for load in _shared(content, pair)))
    columns = [
        *method_columns(), *(Column(f"Batch {load.batch}", f"prompt {load.prompt}, speed") for load in loads),
        Column("Difference of a logit", "largest"), Column("Weights on disk", "merged"),
        Column("Weights on disk", "unmerged"),
    ]  # fmt: skip
    rows = [
        Row([*method_values(pair.merged), *(_speed_up(content, pair, load) for load in loads),
             *_sameness(content, pair)])
        for pair in pairs
    ]  # fmt: skip
    return Table(columns, rows, "Merging")


def _speed_up(content: Content, pair: Pair, load: Load) -> Value:
    found = speed_up(content, pair, load)
    return Value() if found is None else Value(f"{plain(found.estimate, 3)} x", interval(found.low, found.high))


def _sameness(content: Content, pair: Pair) -> list[Value]:
    moved = content.made(pair.merged.key, "logit_difference")
    sizes = [content.made(one.key, "weight_bytes") for one in (pair.merged, pair.unmerged)]
    return [
        Value(plain(moved["value"], 2)) if moved else Value(),
        *(Value(pretty(line["value"], "B", 3)) if line else Value() for line in sizes),
    ]


def _points(content: Content, series: Series) -> pandas.DataFrame:
    rows = [
        (str(one.key[0]), str(one.key[3] or ""), load.batch, rate, 1e3 * (number(content, one, load, BETWEEN) or 0.0))
        for one in series.groups for load in series.loads
        if (rate := number(content, one, load, DECODE)) is not None
    ]  # fmt: skip
    return pandas.DataFrame(rows, columns=["method", "precision", "batch", "rate", "milliseconds"])
