"""Modifiers and precisions of training, each beside the same training without it."""

from __future__ import annotations

from dataclasses import replace

from harness.analyse.statistics import Interval
from harness.analyse.summary import Line, compare
from harness.errors import MethodError
from harness.plan.expression import Method, parse
from harness.report.alike import (
    FIRST_STEPS,
    NOISE_IN_BRACKETS,
    loss_distance,
    memory_interval,
    memory_ratio,
    over_seeds,
    pairs,
    time_interval,
    time_ratio,
    told_apart,
)
from harness.report.cells import method_columns, method_values, row_kind
from harness.report.content import Content
from harness.report.document import Block, Column, Paragraph, Row, Section, Table, Value
from harness.report.numbers import interval, plain, signed
from harness.report.outcomes import Key, Outcome
from harness.report.results import set_title

QUALITY = "bits_per_byte"
UNSURE = " (not told from 1)"
EXPLANATION = (
    "Each training beside the same one without its modifiers, at fp32 where it runs at another precision. Time is the "
    "median optimiser step over the seeds that both have; the two ran at different times of one sweep. "
    f"{NOISE_IN_BRACKETS} Memory is the peak above what the process began with (on a GPU the device's). "
    "Distance of losses: the greatest between the two losses of one optimiser step; the same arithmetic in another "
    "order differs in the last bits only, which training magnifies step by step. The test difference is paired over "
    "windows."
)


def optimisations(content: Content) -> Section | None:
    """The section, or None where no training was modified."""
    tables = [table for which in content.sets if (table := _table(content, which)) is not None]
    return Section("Training optimisations", [Paragraph(EXPLANATION, "note"), *tables]) if tables else None


def optimisations_in_words(content: Content) -> list[str]:
    """Ratios of time and memory, a sentence per training that others are compared with."""
    said: dict[str, list[str]] = {}
    for outcome, other in (pair for which in content.sets for pair in _pairs(content, which)):
        one, two = outcome.key, other.key
        where = content.where(content.set_of(one))
        beside = f"{two[0]} at {two[3]}{f' on {where}' if where else ''}"
        against = f"Against {beside} (step, peak of memory{_several(content, one, two)})"
        name = str(one[0]).removeprefix(str(two[0])).strip()
        ratios = f"{time_in_words(content, one, two)}, {memory_in_words(content, one, two)}"
        change = " ".join(filter(None, (name, f"at {one[3]}" if one[3] != two[3] else "")))
        said.setdefault(against, []).append(f"{change} {ratios}")
    return [*(f"{against}: {'; '.join(found)}." for against, found in said.items()), *_composed(content)]


def _composed(content: Content) -> list[str]:
    """How far the losses of trainings with several modifiers are from those without, at the same precision."""
    found = []
    for one, two in ((one.key, two.key) for which in content.sets for one, two in _pairs(content, which)):
        if one[3] == two[3] and len(parse(str(one[0])).stages[-1].modifiers) > 1:
            name = str(one[0]).removeprefix(str(two[0])).strip()
            found.append(f"{two[0]} {name} at {one[3]} {loss_distance(content, one, two).text}")
    start = f"Composed, the losses of the first {FIRST_STEPS} steps move by at most (nats per token)"
    return [f"{start}: {'; '.join(found)}."] if found else []


def _several(content: Content, one: Key, other: Key) -> str:
    return " and its range over seeds" if len(pairs(content, one, other)) > 1 else ""


def time_in_words(content: Content, one: Key, other: Key) -> str:
    """The ratio of times, and whether it can be told from 1."""
    found = time_interval(content, one, other)
    return "-" if found is None else f"{plain(found.estimate, 3)} x{'' if told_apart(found) else UNSURE}"


def memory_in_words(content: Content, one: Key, other: Key) -> str:
    """The ratio of peaks with its range over seeds, and whether it can be told from 1."""
    found = memory_interval(content, one, other)
    if found is None:
        return "-"
    return f"{plain(found.estimate, 3)} x{told_in_seeds(found)}"


def told_in_seeds(found: Interval) -> str:
    """The range over seeds in brackets; of one seed whether the ratio can be told from 1."""
    if found.n > 1:
        return f" ({over_seeds(found)})"
    return "" if told_apart(found) else UNSURE


def without_modifiers(method: str) -> str:
    """The chain with a plain last stage."""
    try:
        parsed = parse(method)
    except MethodError:
        return method
    return str(Method((*parsed.stages[:-1], replace(parsed.stages[-1], modifiers=()))))


def partner(outcome: Outcome, among: list[Outcome]) -> Outcome | None:
    """The group that trained the same without modifiers: at this precision, else at fp32; None where it is its own."""
    method, *_, precision, _hardware = outcome.key
    plain_method = without_modifiers(str(method))
    for wanted in (precision, "fp32"):
        key = (plain_method, *outcome.key[1:3], wanted, outcome.key[4])
        if key != outcome.key:
            found = next((one for one in among if one.key == key and one.status == "done"), None)
            if found is not None:
                return found
    return None


def _table(content: Content, which: Key) -> Block | None:
    found = _pairs(content, which)
    if not found:
        return None
    overflow = any("overflow_steps" in content.last_training(outcome.key) for outcome, _ in found)
    columns = [
        *method_columns(), Column("Compared with", "precision", "method"), Column("Optimiser step", "ratio"),
        Column("Peak memory", "ratio"), Column("Distance of losses", f"first {FIRST_STEPS} steps"),
        *([Column("Steps left out", "overflow")] if overflow else []), Column("Test difference", "bits per byte"),
    ]  # fmt: skip
    rows = [_row(content, outcome, other, overflow) for outcome, other in found]
    return Table(columns, rows, set_title(which))


def _pairs(content: Content, which: Key) -> list[tuple[Outcome, Outcome]]:
    """Trainings with their plain partners, where any has a modifier; the ranks have a section of their own."""
    if "ranks=" in str(which[2]):
        return []
    here = [outcome for outcome in content.groups(which) if content.steps_of(outcome.key)]
    found = [(outcome, other) for outcome in here if (other := partner(outcome, here)) is not None]
    modified = any(" + " in str(outcome.key[0]).rsplit(" > ", 1)[-1] for outcome, _ in found)
    return found if modified else []


def _row(content: Content, outcome: Outcome, other: Outcome, overflow: bool) -> Row:
    one, two = outcome.key, other.key
    left_out = content.last_training(one).get("overflow_steps")
    values = [
        *method_values(outcome), Value(str(two[0]), str(two[3] or ""), kind="method"), time_ratio(content, one, two),
        memory_ratio(content, one, two), loss_distance(content, one, two),
        *([Value(plain(left_out["value"])) if left_out else Value()] if overflow else []),
        _test_difference(content, one, two),
    ]  # fmt: skip
    return Row(values, row_kind(content, outcome))


def _test_difference(content: Content, one: Key, other: Key) -> Value:
    for task in content.tasks_with(QUALITY):
        lines = [content.score(key, task, QUALITY) for key in (one, other)]
        if lines[0] is not None and lines[1] is not None:
            found, _ = compare(*_of_common_seeds(content, lines[0], lines[1]), content.scores)
            return Value(signed(found.estimate), interval(found.low, found.high))
    return Value()


def _of_common_seeds(content: Content, one: Line, other: Line) -> tuple[Line, Line]:
    """The lines of the seeds that both have."""
    values = [content.by_seed(QUALITY, line["steps"]) for line in (one, other)]
    seeds = [seed for seed in values[0] if seed in values[1]]
    if not seeds or len(values[0]) == len(values[1]) == len(seeds):
        return one, other
    kept = []
    for line, found in zip((one, other), values, strict=True):
        steps = tuple(step for step in line["steps"] if any(seed in seeds for seed in content.by_seed(QUALITY, [step])))
        kept.append({**line, "steps": steps, "value": sum(found[seed] for seed in seeds) / len(seeds)})
    return kept[0], kept[1]
