"""What was found of serving, in sentences: the batch that serves most, what a request keeps, whether merging pays."""

from __future__ import annotations

from itertools import pairwise
from math import log2

from harness.analyse.statistics import Interval
from harness.report.content import Content
from harness.report.numbers import plain, pretty
from harness.report.outcomes import Outcome
from harness.report.served import (
    BETWEEN,
    DECODE,
    EXPECTED,
    FIRST,
    KEPT,
    PER_TOKEN,
    Pair,
    Series,
    by_batch,
    by_length,
    ends,
    fastest,
    further_request,
    loads_of,
    merges,
    number,
    speed_up,
)

# A doubling of the batch that gives less than this much more is hardly worth the wait.
LITTLE = 1.2
# Logits as far apart as this are those of the same function in other roundings.
SAME = 1e-3


def serving_in_words(content: Content) -> list[str]:
    """A sentence or two on each question of serving that the suite asked."""
    found = []
    for series in by_batch(content):
        found += [*_best_batch(content, series), *_kept(content, series)]
    for series in by_length(content):
        found += _longest(content, series)
    return [*found, *(said for pair in merges(content) for said in _merging(content, pair))]


def _best_batch(content: Content, series: Series) -> list[str]:
    """The batch of most tokens per second of the baseline (or the first method), and the fastest method at any."""
    one = next((group for group in series.groups if content.is_baseline(group.key)), series.groups[0])
    best = fastest(content, one, series)
    smallest = series.loads[0]
    if best is None or not (alone := number(content, one, smallest, DECODE)):
        return []
    rate = number(content, one, best, DECODE) or 0.0
    wait, wait_alone = (pretty(number(content, one, load, BETWEEN), "s", 3) for load in (best, smallest))
    tried = ", the largest that was tried" if best is series.loads[-1] else ""
    said = f"{_name(one)} decodes most at batch {best.batch}{tried}: {plain(rate, 3)} token/s, "
    said += f"{plain(rate / alone, 2)} x "
    said += f"those of batch {smallest.batch}; a request then waits {wait} for each token instead of {wait_alone}."
    knee = _knee(content, one, series)
    if knee is not None and knee < best.batch:
        said += f" Beyond batch {knee} a doubling gives less than {100 * (LITTLE - 1):.0f} % more."
    return [said, *_fastest_of_all(content, series, one)]


def _knee(content: Content, outcome: Outcome, series: Series) -> int | None:
    """The batch from which on no doubling gives a fifth more; None where the last one still does."""
    rates = [(load.batch, number(content, outcome, load, DECODE)) for load in series.loads]
    known = [(batch, rate) for batch, rate in rates if rate]
    gains = [
        (before[0], (after[1] / before[1]) ** (1 / log2(after[0] / before[0]))) for before, after in pairwise(known)
    ]
    knee = None
    for batch, gain in reversed(gains):
        if gain >= LITTLE:
            break
        knee = batch
    return knee


def _fastest_of_all(content: Content, series: Series, known: Outcome) -> list[str]:
    rates = [
        (rate, one, best) for one in series.groups
        if (best := fastest(content, one, series)) is not None and (rate := number(content, one, best, DECODE))
    ]  # fmt: skip
    rate, one, best = max(rates, key=lambda found: found[0])
    if one is known:
        return []
    return [f"Most of all methods: {_name(one)} at batch {best.batch}, {plain(rate, 3)} token/s."]


def _kept(content: Content, series: Series) -> list[str]:
    """What a request keeps, lowest and highest of the methods, and how far arithmetic was from it."""
    load = series.loads[-1]
    told = [
        (value, one) for one in series.groups
        if (value := number(content, one, ends(content, one, series)[1], PER_TOKEN)) is not None
    ]  # fmt: skip
    if not told:
        return []
    (low, least), (high, most) = min(told, key=lambda pair: pair[0]), max(told, key=lambda pair: pair[0])
    said = f"A request of {load.prompt} + {load.new} tokens keeps {pretty(high * load.read, 'B', 3)} of keys and values"
    said += f" ({pretty(high, 'B', 3)} a token)"
    if low < 0.99 * high:
        said += f" with {_name(most)}, {pretty(low * load.read, 'B', 3)} with {_name(least)}"
    more = further_request(content, most, series)
    if more is not None and more > high * load.read:
        said += f"; at the peak a further one takes {pretty(more, 'B', 3)}, the rest for the moment of a forward pass"
    return [f"{said}.", *_against_arithmetic(content, series)]


def _against_arithmetic(content: Content, series: Series) -> list[str]:
    off = []
    for one in series.groups:
        kept, expected = (number(content, one, ends(content, one, series)[1], name) for name in (KEPT, EXPECTED))
        if kept and expected and abs(kept / expected - 1) > 0.02:
            off.append(f"{_name(one)} ({plain(kept / expected, 3)} x)")
    return [f"More than arithmetic says is kept by {', '.join(off)}."] if off else []


def _longest(content: Content, series: Series) -> list[str]:
    """At the longest prompt: how long the first token takes and what is kept, against the shortest."""
    first, last = series.loads[0], series.loads[-1]
    said = []
    for one in series.groups:
        wait, kept, before = (
            number(content, one, load, name) for load, name in ((last, FIRST), (last, KEPT), (first, FIRST))
        )
        if wait is not None and kept is not None and before:
            growth = f"{plain(wait / before, 2)} x that of {plain(first.prompt)}"
            said.append(
                f"{_name(one)}: {pretty(wait, 's', 3)} to the first token ({growth}), {pretty(kept, 'B', 3)} kept"
            )
    if not said:
        return []
    where = content.where(series.which)
    return [f"A prompt of {plain(last.prompt)} tokens{f' on {where}' if where else ''}: {'; '.join(said)}."]


def _merging(content: Content, pair: Pair) -> list[str]:
    """How much faster the merged model decodes at the smallest and the largest batch, and whether it is the same."""
    loads = sorted(loads_of(content), key=lambda load: (load.prompt, load.batch))
    ratios = [(load, found) for load in loads if (found := speed_up(content, pair, load)) is not None]
    if not ratios:
        return []
    shown = [ratios[0], ratios[-1]] if len(ratios) > 1 else ratios
    said = " and ".join(f"{plain(found.estimate, 3)} x{_doubt(found)} at batch {load.batch}" for load, found in shown)
    moved = content.made(pair.merged.key, "logit_difference")
    same = ""
    if moved is not None:
        word = "it is the same function" if moved["value"] < SAME else "it is another function"
        same = f"; no logit moved by more than {plain(moved['value'], 2)}, so that {word}"
    return [f"{_name(pair.merged)} decodes {said} as fast as with the adapters unmerged{same}."]


def _doubt(found: Interval) -> str:
    if found.low is None or found.high is None or not found.low <= 1 <= found.high:
        return ""
    return " (no difference can be told)"


def _name(outcome: Outcome) -> str:
    return f"{outcome.key[0]} ({outcome.key[3]})" if outcome.key[3] else str(outcome.key[0])
