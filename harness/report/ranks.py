"""Training in several processes: what each keeps, what they exchange, and whether they learn the same."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from harness.plan.expression import Method, parse
from harness.report.alike import (
    FIRST_STEPS,
    MEMORY,
    NOISE_IN_BRACKETS,
    farthest,
    loss_distance,
    time_ratio,
    training_memory,
)
from harness.report.cells import method_values, metric_value, row_kind
from harness.report.content import Content, one_line
from harness.report.document import Column, Paragraph, Row, Section, Table, Value
from harness.report.numbers import plain, pretty
from harness.report.optimisations import time_in_words
from harness.report.outcomes import Outcome

KEPT = ("rank_parameter_bytes", "rank_gradient_bytes", "rank_optimizer_bytes")
EXPLANATION = (
    "Bytes are those of the rank that holds most: parameters and optimiser state between steps, gradients at their "
    "most. By arithmetic, with N ranks and P parameters in fp32, data parallel keeps 4P, 4P and 8P (Adam's two "
    "moments); ZeRO keeps a fp32 copy of its share beside them, so that stage 1 keeps 4P, 4P and 12P/N, stage 2 4P, "
    "4P/N and its buckets, and 12P/N, stage 3 a share of all three. Communication is that of two profiled warm-up "
    "steps, waiting for the other rank included. Ratios and losses are set beside those of the same method in one "
    f"process at the same global batch. {NOISE_IN_BRACKETS}"
)


def ranks(content: Content) -> Section | None:
    """The section, or None where nothing trained in several processes."""
    several = [one for one in content.outcomes if _ranks(content, one)]
    if not several:
        return None
    rows: list[Row] = []
    for outcome in several:
        alone = _alone(content, outcome)
        if alone is not None and not any(row.kind == "baseline" for row in rows):
            rows.append(Row(_values(content, alone, None), "baseline"))
        rows.append(Row(_values(content, outcome, alone), row_kind(content, outcome)))
    columns = [
        Column("Method", "precision · hardware", "method"), Column("Parameters", "per rank"),
        Column("Gradients", "per rank"), Column("Optimiser state", "per rank"), Column("Peak memory", "of each rank"),
        Column("Communication", "per step"), Column("Optimiser step", "median"), Column("Optimiser step", "ratio"),
        Column("Distance of losses", f"first {FIRST_STEPS} steps"),
    ]  # fmt: skip
    return Section("Ranks", [Paragraph(EXPLANATION, "note"), Table(columns, rows, "Beside one process")])


def ranks_in_words(content: Content) -> list[str]:
    """What a rank keeps with each method, and how far the losses are from one process's."""
    several = [one for one in content.outcomes if _ranks(content, one)]
    kept = [(one, sum(line["value"] for name in KEPT if (line := lines.get(name)))) for one in several
            for lines in (content.last_training(one.key),)]  # fmt: skip
    if not kept:
        return []
    everything = {_without_zero(str(one.key[0])): total for one, total in kept if "zero" not in str(one.key[0])}
    parts = []
    for one, total in kept:
        base = everything.get(_without_zero(str(one.key[0])))
        ratio = f", {plain(total / base, 2)} x data parallel's" if base and total != base else ""
        parts.append(f"{one.key[0]} {pretty(total, 'B', 3)}{ratio}")
    told = "; ".join(parts)
    distances = [
        found for one in several
        if (alone := _alone(content, one)) and (found := farthest(content, one.key, alone.key)) is not None
    ]  # fmt: skip
    said = [f"Parameters, gradients and optimiser state that a rank keeps, together: {told}."]
    said += _cost(content, several)
    if distances:
        said.append(f"No loss of any step is further from one process's than {plain(max(distances), 2)}.")
    return said


def _cost(content: Content, several: list[Outcome]) -> list[str]:
    """What each exchanges and how long a step takes beside data parallel."""
    said = []
    seconds = [(one, content.last_training(one.key).get("communication_seconds")) for one in several]
    told = [f"{one.key[0]} {pretty(line['value'], 's', 3)}" for one, line in seconds if line is not None]
    if told:
        said.append(f"Communication in a step, waiting included: {'; '.join(told)}.")
    divided = [one for one in several if "zero" in str(one.key[0])]
    whole = {(_without_zero(str(one.key[0])), *one.key[1:]): one for one in several if one not in divided}
    ratios = [
        f"{one.key[0]} {time_in_words(content, one.key, other.key)}" for one in divided
        if (other := whole.get((_without_zero(str(one.key[0])), *one.key[1:]))) is not None
    ]  # fmt: skip
    return [*said, f"A step takes, against data parallel: {'; '.join(ratios)}."] if ratios else said


def _ranks(content: Content, outcome: Outcome) -> list[dict[str, Any]]:
    found = content.observed(content.steps_of(outcome.key), "ranks")
    return found if isinstance(found, list) else []


def _alone(content: Content, outcome: Outcome) -> Outcome | None:
    """The same stages in one process: without ZeRO, which is a way to divide and no other method."""
    plain_method = _without_zero(str(outcome.key[0]))
    return next(
        (
            one for one in content.outcomes
            if one.key[:4] == (plain_method, *outcome.key[1:4]) and content.steps_of(one.key)
            and not _ranks(content, one)
        ),
        None,
    )  # fmt: skip


def _without_zero(method: str) -> str:
    """The chain whose last stage divides nothing."""
    parsed = parse(method)
    last = parsed.stages[-1]
    kept = tuple(call for call in last.modifiers if call.name != "zero")
    return str(Method((*parsed.stages[:-1], replace(last, modifiers=kept))))


def _values(content: Content, outcome: Outcome, alone: Outcome | None) -> list[Value]:
    lines = content.last_training(outcome.key)
    (name,) = method_values(outcome)
    peaks = [
        pretty(next((one[name] for name in MEMORY if name in one), None), "B", 3) for one in _ranks(content, outcome)
    ]  # fmt: skip
    told = " · ".join(peaks) or pretty(training_memory(content, outcome.key), "B", 3)
    keys = (outcome.key, alone.key) if alone is not None else None
    return [
        Value(name.text, one_line((outcome.key[3], outcome.key[4])), kind="method"),
        *(metric_value(lines.get(metric), digits=3, marks=False) for metric in KEPT), Value(told),
        metric_value(lines.get("communication_seconds"), digits=3, marks=False),
        metric_value(lines.get("step_seconds"), digits=3, marks=False),
        *((time_ratio(content, *keys), loss_distance(content, *keys)) if keys else (Value(), Value())),
    ]  # fmt: skip
