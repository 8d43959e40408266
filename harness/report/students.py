"""Distillation: how much smaller and faster a student is, what it kept of its teacher, and what the teacher added."""

from __future__ import annotations

from typing import Any

from harness.analyse.cells import CHAIN
from harness.analyse.patterns import SETTINGS
from harness.analyse.summary import compare
from harness.errors import MethodError
from harness.metrics import metric as declared
from harness.plan.expression import Call, Method, Stage, parse
from harness.report.alike import time_ratio
from harness.report.cells import method_columns, method_values, metric_value, row_kind
from harness.report.content import Content
from harness.report.document import Column, Paragraph, Row, Section, Table, Value
from harness.report.numbers import interval, plain, pretty, signed
from harness.report.outcomes import Key, Outcome
from harness.report.results import inference_memory, set_title

PLAIN = "distillation"
QUALITY = ("bits_per_byte", "pseudo_bits_per_byte", "masked_accuracy")
SHAPE = ("view", "layers", "hidden_size", "intermediate_size", "init")
WEIGHTS = ("soft_weight", "cosine_weight")
SPEED = "decode_tokens_per_second"
EXPLANATION = (
    "The teacher is the model that the stage was given. Quality is set beside the teacher's (what is kept of it is the "
    "ratio of the accuracies, or of the teacher's bits to the student's), and beside the same "
    "student that learnt as many tokens without a teacher, the control (alpha=0; of distilbert, its labels alone): the "
    "difference is what the teacher added, for the better below zero in bits and above it in accuracy. Both are paired "
    "over the test items. Asking the teacher costs forward passes, so that equally many tokens "
    "take longer; the curves over seconds show the comparison at equal time. The bracket of a ratio of times holds "
    "what runs of the same thing differ by."
)


def students(content: Content) -> Section | None:
    """The section, or None where nothing was distilled."""
    tables = [table for which in content.sets for table in _tables(content, which)]
    return Section("Distillation", [Paragraph(EXPLANATION, "note"), *tables]) if tables else None


def students_in_words(content: Content) -> list[str]:
    """For each student its size, its distance from the teacher, and what the teacher added."""
    said = []
    for which in content.sets:
        here = content.groups(which)
        for one in here:
            lines = content.last_training(one.key)
            if "teacher_parameters" not in lines:
                continue
            task, metric = _quality(content, one)
            share = lines["parameters"]["value"] / lines["teacher_parameters"]["value"]
            away = _difference(content, one, teacher_of(one, here), task, metric)
            added = _difference(content, one, alone(one, here), task, metric)
            if not away.note:
                continue
            more = f", {added.text} {added.note} against the same student without a teacher" if added.note else ""
            said.append(
                f"{one.key[0]} at {pretty(share, 'share', 2)} of its teacher's parameters: {metric.replace('_', ' ')} "
                f"{away.text} {away.note} against the teacher{more}."
            )
    return said


def teacher_of(outcome: Outcome, among: list[Outcome]) -> Outcome | None:
    """The group whose model was the teacher: the chain before the last stage, or the base."""
    before = str(outcome.key[0]).rpartition(CHAIN)[0] or "base"
    return next((one for one in among if one.key == (before, *outcome.key[1:]) and one.status == "done"), None)


def alone(outcome: Outcome, among: list[Outcome]) -> Outcome | None:
    """The same student without a teacher: the same chain with the plain distillation at alpha=0; None for itself."""
    wanted = _without_teacher(str(outcome.key[0]))
    if wanted is None or wanted == outcome.key[0]:
        return None
    return next((one for one in among if one.key == (wanted, *outcome.key[1:]) and one.status == "done"), None)


def _without_teacher(method: str) -> str | None:
    """The method's canonical text with the control as its last stage: the same student, and no word of the teacher."""
    try:
        parsed = parse(method)
    except MethodError:
        return None
    last = parsed.stages[-1]
    if last.call.name == "distilbert":
        kept = [item for item in last.call.params if item[0] not in WEIGHTS]
        call = Call(last.call.name, (*kept, ("soft_weight", 0.0), ("cosine_weight", 0.0)))
    else:
        kept = [item for item in last.call.params if item[0] in SHAPE or item[0] in SETTINGS]
        call = Call(PLAIN, (*kept, ("alpha", 0.0)))
    return str(Method((*parsed.stages[:-1], Stage(call, last.modifiers))))


def _tables(content: Content, which: Key) -> list[Table]:
    """One table per task, because a student taught on answers is scored on answers."""
    here = content.groups(which)
    tasks: dict[tuple[str, str], list[Outcome]] = {}
    for one in here:
        if "teacher_parameters" in content.last_training(one.key):
            tasks.setdefault(_quality(content, one), []).append(one)
    found = []
    for (task, metric), taught in tasks.items():
        columns = [
            *method_columns(), Column("Parameters", "share of the teacher's"),
            Column("Begins with", "teacher's layers"),
            Column(metric.replace("_", " ").capitalize(), task), Column("Against the teacher", "share of it kept"),
            Column("Added by the teacher", "against the control"), Column("Decoding", "against the teacher"),
            Column("Memory in use", "against the teacher"), Column("Optimiser step", "against the control"),
            Column("Teacher's share", "of the training time"),
        ]  # fmt: skip
        rows = [_row(content, one, here, task, metric) for one in taught]
        found.append(Table(columns, rows, set_title(which)))
    return found


def _quality(content: Content, one: Outcome) -> tuple[str, str]:
    """Task and metric by which a student is compared with its teacher."""
    scored = [(task, metric) for metric in QUALITY for task in content.tasks_with(metric)]
    return next((pair for pair in scored if content.score(one.key, *pair) is not None), ("", QUALITY[0]))


def _row(content: Content, outcome: Outcome, here: list[Outcome], task: str, metric: str) -> Row:
    lines = content.last_training(outcome.key)
    teacher, by_itself = teacher_of(outcome, here), alone(outcome, here)
    student = content.observed(content.steps_of(outcome.key), "student") or {}
    share = lines["parameters"]["value"] / lines["teacher_parameters"]["value"]
    asked = lines.get("teacher_seconds")
    steps = content.steps_of(outcome.key)
    counted = [value for step in steps for value in content.training_series("step_seconds", step)]
    whole = lines["optimizer_steps"]["value"] * sum(counted) / len(counted) if counted else 0.0
    layers = ", ".join(map(str, student.get("begins_with_layers") or [])) or "none: fresh"
    return Row([
        *method_values(outcome), Value(pretty(share, "share", 3), pretty(lines["parameters"]["value"])),
        Value(layers, kind="method"), metric_value(content.score(outcome.key, task, metric)),
        _kept(content, outcome, teacher, task, metric), _difference(content, outcome, by_itself, task, metric),
        _ratio(content, outcome, teacher, SPEED), _memory(content, outcome, teacher),
        time_ratio(content, outcome.key, by_itself.key) if by_itself else Value(),
        Value(pretty(asked["value"] / whole, "share", 2) if asked and whole else "-", _kept_answers(lines)),
    ], row_kind(content, outcome))  # fmt: skip


def _kept_answers(lines: dict[str, Any]) -> str:
    kept = lines.get("teacher_cache_bytes")
    return f"{pretty(kept['value'], 'B', 3)} of its answers kept" if kept else ""


def _kept(content: Content, one: Outcome, teacher: Outcome | None, task: str, metric: str) -> Value:
    """The difference from the teacher, and the share of its quality that is left: bits have to be few, shares many."""
    found = _difference(content, one, teacher, task, metric)
    lines = [content.score(which.key, task, metric) for which in (one, teacher) if which is not None]
    if len(lines) < 2 or lines[0] is None or lines[1] is None:
        return found
    own, of_teacher = lines[0]["value"], lines[1]["value"]
    share = of_teacher / own if declared(metric).direction == "lower" else own / of_teacher
    return Value(found.text, f"{found.note} {pretty(share, 'share', 3)} kept".strip())


def _difference(content: Content, one: Outcome, other: Outcome | None, task: str, metric: str) -> Value:
    lines = [content.score(which.key, task, metric) for which in (one, other) if which is not None]
    if len(lines) < 2 or lines[0] is None or lines[1] is None:
        return Value()
    found, _ = compare(lines[0], lines[1], content.scores)
    return Value(signed(found.estimate), interval(found.low, found.high))


def _ratio(content: Content, one: Outcome, other: Outcome | None, metric: str) -> Value:
    task = next(iter(content.tasks_with(metric)), None)
    if task is None or other is None:
        return Value()
    lines = [content.score(which.key, task, metric) for which in (one, other)]
    if lines[0] is None or lines[1] is None:
        return Value()
    return Value(f"{plain(lines[0]['value'] / lines[1]['value'], 3)} x", f"{plain(lines[0]['value'], 3)} tokens/s")


def _memory(content: Content, one: Outcome, other: Outcome | None) -> Value:
    which = inference_memory(content, one.key)
    if which is None or other is None:
        return Value()
    lines = [content.score(key, *which) for key in (one.key, other.key)]
    if lines[0] is None or lines[1] is None or not lines[1]["value"]:
        return Value()
    return Value(f"{plain(lines[0]['value'] / lines[1]['value'], 3)} x", pretty(lines[0]["value"], "B", 3))
