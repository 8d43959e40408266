"""What trainings took of the GPU: its own time beside the clock's, energy, memory by the allocator, and its limits."""

from __future__ import annotations

from collections.abc import Mapping

from harness.analyse.summary import Line
from harness.report.cells import method_columns, method_values, metric_value, row_kind
from harness.report.content import Content
from harness.report.document import Block, Column, Paragraph, Row, Section, Table, Value
from harness.report.numbers import pretty
from harness.report.outcomes import Key, Outcome
from harness.report.results import set_title
from harness.report.training import utilisation_value

EXPLANATION = (
    "Energy and power by the driver's counter from the first to the last moment of the training, evaluations within "
    "it too. The host's share is what the clock around a step has more than the GPU's own events. Utilisation: model "
    "FLOPs over what plain products of the same type reached on this GPU in the same sweep, times the GPUs. Clock and "
    "limits are those at the training's end."
)
_PER = 1000.0  # tokens of the energy that is shown


def gpu(content: Content) -> Section | None:
    """The section, or None where nothing was trained on a GPU that tells of itself."""
    tables = [table for which in content.sets if (table := _table(content, which)) is not None]
    blocks: list[Block] = [Paragraph(EXPLANATION, "note"), *tables]
    return Section("Trainings on the GPU", blocks) if tables else None


def _table(content: Content, which: Key) -> Table | None:
    rows = [
        Row([*method_values(outcome), *_values(content, outcome, lines)], row_kind(content, outcome))
        for outcome in content.groups(which)
        if "cuda_step_seconds" in (lines := content.last_training(outcome.key))
    ]
    columns = [
        *method_columns(), Column("Step", "GPU's events"), Column("Host", "share of a step"), Column("Tokens/s", "all"),
        Column("Utilisation", "model FLOPs"), Column("Power"), Column("Energy", "J per 1000 tokens"),
        Column("Allocated", "peak"), Column("Reserved", "peak"), Column("Clock", "limits", "text"),
    ]  # fmt: skip
    return Table(columns, rows, f"On the GPU · {set_title(which)}") if rows else None


def _values(content: Content, outcome: Outcome, lines: Mapping[str, Line]) -> list[Value]:
    power = lines.get("gpu_power_watts")
    return [
        metric_value(lines["cuda_step_seconds"], digits=3, marks=False),
        _host(lines),
        metric_value(lines.get("tokens_per_second"), digits=3, marks=False),
        utilisation_value(content, lines, str(outcome.key[3])),
        Value() if power is None else Value(f"{pretty(power['value'], 'W', 3)} W"),
        _energy(lines),
        metric_value(lines.get("cuda_peak_allocated_bytes"), digits=3, marks=False),
        metric_value(lines.get("cuda_peak_reserved_bytes"), digits=3, marks=False),
        _clock(content, outcome),
    ]


def _host(lines: Mapping[str, Line]) -> Value:
    wall, device = lines.get("step_seconds"), lines["cuda_step_seconds"]
    return Value() if wall is None else Value(pretty(max(0.0, 1 - device["value"] / wall["value"]), "share", 2))


def _energy(lines: Mapping[str, Line]) -> Value:
    energy, tokens = lines.get("gpu_energy_joules"), lines.get("train_tokens")
    if energy is None or tokens is None or not tokens["value"]:
        return Value()
    return Value(pretty(_PER * energy["value"] / tokens["value"], "J", 3))


def _clock(content: Content, outcome: Outcome) -> Value:
    """Clock of each GPU over its highest, and why it was below."""
    told = content.observed(content.steps_of(outcome.key), "gpu_state")
    if not isinstance(told, Mapping) or not told:
        return Value()
    clocks = [f"{one.get('clock_mhz', '-')} of {one.get('highest_clock_mhz', '-')} MHz" for one in told.values()]
    reasons = sorted({str(reason) for one in told.values() for reason in one.get("reasons") or ()})
    return Value("; ".join(clocks), ", ".join(reasons), kind="text")
