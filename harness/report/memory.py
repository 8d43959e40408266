"""Memory of training by what it is for: predicted from the configuration, beside what was measured."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pandas

from harness.memory.prediction import LEFT_OUT
from harness.report.cells import method_columns, method_values, row_kind
from harness.report.content import Content, one_line
from harness.report.document import Block, Column, Paragraph, Row, Section, Table, Value
from harness.report.figures import components
from harness.report.numbers import plain, pretty
from harness.report.outcomes import Key, Outcome
from harness.report.results import set_title

TASK = "training_memory"
# Within so much of what tensors were measured to take, a prediction is right; the tests hold it to that.
SHARE, BYTES = 0.10, 50e6
LARGE = 250e6
SHOWN = {"weights": "Weights", "gradients": "Gradients", "optimizer state": "Optimiser state",
         "activations": "Activations", "loss": "Loss"}  # fmt: skip
_NAMES = ("predicted_memory_bytes", "training_memory_bytes", "tensor_memory_bytes")
EXPLANATION = (
    "Predicted by arithmetic from the model's configuration, before the first step: bytes of each part in full, and "
    "the most that lie in memory at once (some parts come when others have gone). Measured: the peak above what lay in "
    "memory before, the model's weights included. 'Of tensors' is that of a process whose heap gives freed memory "
    "back at once, which the prediction is compared with; 'with the heap' is what a training takes with the system's "
    f"heap, which keeps freed blocks in pieces. The prediction leaves out {LEFT_OUT}."
)
# From here on two thirds of a peak are something else than tensors.
MOSTLY_OTHER = 3.0


@dataclass(frozen=True)
class Found:
    """One method's prediction and what was measured, in bytes; ``tensors`` where a probe measured them."""

    outcome: Outcome
    predicted: float
    parts: dict[str, float]
    at: str
    tensors: float | None
    heap: float


def memory(content: Content) -> Section | None:
    """The section, or None where nothing was predicted."""
    blocks: list[Block] = []
    for which in content.sets:
        found = list(_found(content, which))
        if found:
            blocks.append(_table(content, which, found))
            blocks.append(_picture(which, found, len(blocks) // 2 + 1))
    return Section("Memory of training, predicted", [Paragraph(EXPLANATION, "note"), *blocks]) if blocks else None


def memory_in_words(content: Content) -> list[str]:
    """How far predictions were from what tensors took, and what the heap added, in a sentence each."""
    found = [one for which in content.sets for one in _found(content, which) if one.tensors]
    if not found:
        return []
    right = sum(holds(one.predicted, one.tensors or 0) for one in found)
    said = [
        f"Predicted memory is within {SHARE:.0%} or {BYTES / 1e6:.0f} MB of what tensors took in {right} of "
        f"{len(found)} trainings"
    ]
    large = [(one, one.tensors) for one in found if one.tensors and one.tensors >= LARGE]
    errors = [(one.predicted / tensors - 1, one.outcome.key) for one, tensors in large]
    if errors:
        error, key = max(errors, key=lambda pair: abs(pair[0]))
        said[0] += f"; of those of {LARGE / 1e6:.0f} MB and more {key[0]} at {key[3]} is farthest off ({error:+.1%})"
    said[0] += "."
    kept = [one.heap / one.tensors for one in found if one.tensors]
    said.append(
        f"With the system's heap the same trainings take {plain(min(kept), 3)} to {plain(max(kept), 3)} times what "
        "their tensors take."
    )
    return said


def compiled_in_words(content: Content) -> list[str]:
    """That peaks of trainings over batches of unequal length tell little of their methods, in 16 bits on a CPU."""
    found = [one for which in content.sets for one in _found(content, which) if _is_compiled(content, one)]
    if not found:
        return []
    times = sorted(one.heap / one.predicted for one in found)
    span = plain(times[0], 3) if len(times) == 1 else f"{plain(times[0], 3)} to {plain(times[-1], 3)}"
    methods = "1 method" if len(found) == 1 else f"{len(found)} methods"
    return [
        f"Peaks of training of {methods} in 16 bits do not tell what they need: {span} times the predicted tensors. "
        "Their batches differ in length, and on a CPU oneDNN keeps what it compiled for each of them; predicted memory "
        "compares the methods."
    ]


def _is_compiled(content: Content, one: Found) -> bool:
    """Whether most of a peak is no tensors, where oneDNN compiles for every length and batches are padded to theirs."""
    in_16_bits_on_a_cpu = one.outcome.key[3] != "fp32" and str(one.outcome.key[4]).startswith("cpu")
    if not in_16_bits_on_a_cpu or one.tensors is not None or one.heap <= MOSTLY_OTHER * one.predicted:
        return False
    lines = content.last_training(one.outcome.key)
    every, text = (lines.get(name) for name in ("tokens_per_second", "nonpadding_tokens_per_second"))
    return bool(every and text and text["value"] < every["value"])


def holds(predicted: float, measured: float) -> bool:
    """Whether a prediction is right: within 10 % or 50 MB."""
    return abs(predicted - measured) <= max(SHARE * measured, BYTES)


def _found(content: Content, which: Key) -> Iterable[Found]:
    for outcome in content.groups(which):
        yield from _of(content, outcome)


def _of(content: Content, outcome: Outcome) -> Iterable[Found]:
    """From the task that measured the training, else from the training itself."""
    tasks = [task for task in content.tasks_named(TASK) if content.score(outcome.key, task, "training_memory_bytes")]
    lines = {name: content.score(outcome.key, tasks[0], name) for name in _NAMES} if tasks else {
        name: content.last_training(outcome.key).get(name) for name in _NAMES
    }  # fmt: skip
    predicted, heap = lines["predicted_memory_bytes"], lines["training_memory_bytes"]
    if predicted is None or heap is None:
        return
    told: Any = content.observed(predicted["steps"], "predicted_memory") or {"parts": {}, "at": ""}
    tensors = lines["tensor_memory_bytes"]
    yield Found(
        outcome, predicted["value"], told["parts"], told["at"], None if tensors is None else tensors["value"],
        heap["value"],
    )  # fmt: skip


def _table(content: Content, which: Key, found: list[Found]) -> Table:
    probed = any(one.tensors for one in found)
    columns = [
        *method_columns(), *(Column(label) for label in SHOWN.values()), Column("Other"),
        Column("Predicted", "at once"), *([Column("Measured", "of tensors"), Column("Error")] if probed else []),
        Column("Measured", "with the heap"),
    ]  # fmt: skip
    rows = [Row(_values(one, probed=probed), row_kind(content, one.outcome)) for one in found]
    return Table(columns, rows, f"Memory of training · {set_title(which)}")


def _values(one: Found, *, probed: bool) -> list[Value]:
    other = sum(value for name, value in one.parts.items() if name not in SHOWN)
    against, name = (one.tensors, "its tensors") if probed else (one.predicted, "predicted")
    times = f"{plain(one.heap / against, 3)} x {name}" if against else ""
    error = f"{one.predicted / one.tensors - 1:+.1%}" if one.tensors else "-"
    return [
        *method_values(one.outcome), *(Value(pretty(one.parts.get(name), "B", 3)) for name in SHOWN),
        Value(pretty(other or None, "B", 3)), Value(pretty(one.predicted, "B", 3), f"when {one.at}" if one.at else ""),
        *([Value(pretty(one.tensors, "B", 3)), Value(error)] if probed else []),
        Value(pretty(one.heap, "B", 3), times),
    ]  # fmt: skip


def _picture(which: Key, found: list[Found], number: int) -> Any:
    bars = [
        {"label": _label(one), "part": name, "mebibytes": value / 2**20}
        for one in found for name, value in one.parts.items()
    ]  # fmt: skip
    marks = [
        {"label": _label(one), "measured": kind, "mebibytes": value / 2**20}
        for one in found
        for kind, value in (("tensors", one.tensors), ("with the heap", one.heap), ("predicted", one.predicted))
        if value
    ]
    caption = f"Parts of predicted memory, each in full; marks: predicted at once, and measured ({one_line(which)})."
    order = [_label(one) for one in found]
    return components(pandas.DataFrame(bars), pandas.DataFrame(marks), f"training-memory-{number}", caption, order)


def _label(one: Found) -> str:
    return f"{one.outcome.key[0]} · {one.outcome.key[3]}"
