"""Every group of a suite with all its numbers, for the page's own table and picture: sort, filter, any two against
each other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from harness.analyse.statistics import mean_interval
from harness.analyse.summary import Line
from harness.errors import UsageError
from harness.metrics import metric as declared
from harness.report.candidates import candidates_of, question_of
from harness.report.content import Content
from harness.report.decision import EXPLANATION as OF_DECISIONS
from harness.report.document import Block, Explorer, Form, Paragraph, Section
from harness.report.outcomes import Outcome
from harness.report.results import inference_memory, set_title, task_metrics

Number = list[float | None]
# Of the last stage that trained, and of what it made.
OF_TRAINING = ("step_seconds", "training_memory_bytes", "peak_memory_rise_bytes", "trainable_parameters")
MOST_CANDIDATES = 150  # every two of them are compared over all items
EXPLANATION = (
    "Click a column to sort by it. The picture sets any two numbers against each other, with 95 % intervals where "
    "there are any; a green diamond is what no other method beats on both. The address keeps what is shown, for a link."
)


def explore(content: Content) -> Section | None:
    """The section, or None where there is nothing to sort."""
    asked = {which: task_metrics(content, which) for which in content.sets}
    rows = [_row(content, outcome, asked[content.set_of(outcome.key)]) for outcome in content.outcomes]
    used = {key for row in rows for key in row["numbers"]}
    if len(rows) < 2 or not used:
        return None
    metrics = [_metric(key) for key in sorted(used, key=_place(content, used))]
    return Section("Explore", [Paragraph(EXPLANATION, "note"), Explorer(metrics, rows)], page_only=True)


def decide(content: Content) -> Section | None:
    """The decision form over the first table whose quality is measured, or None where there is none."""
    try:
        question = question_of(content, model=None, hardware=None, quality=None)
    except UsageError:
        return None
    number = len(content.groups(question.which))
    where = f"{set_title(question.which)} · quality by {question.metric} of {question.task}"
    if number > MOST_CANDIDATES:
        said = f"{number} candidates are more than fit a form; harness choose {content.plan.get('suite')} answers."
        return Section("Decide", [Paragraph(where, "caption"), Paragraph(said, "note")], page_only=True)
    candidates = candidates_of(content, question)
    if len(candidates) < 2:
        return None
    form = Form([one.to_dict() for one in candidates], "quality", {})
    blocks: list[Block] = [Paragraph(where, "caption"), form, Paragraph(OF_DECISIONS, "note")]
    return Section("Decide", blocks, page_only=True)


def _row(content: Content, outcome: Outcome, asked: Sequence[tuple[str, str]]) -> dict[str, Any]:
    method, model, data, precision, hardware = outcome.key
    numbers = {key: value for key, value in _numbers(content, outcome, asked) if value[0] is not None}
    return {
        "method": str(method), "precision": str(precision or ""), "model": str(model or ""), "data": str(data or ""),
        "hardware": str(hardware or ""), "status": outcome.status.replace("_", " "), "numbers": numbers,
    }  # fmt: skip


def _numbers(
    content: Content, outcome: Outcome, asked: Sequence[tuple[str, str]]
) -> Iterable[tuple[str, Number]]:
    """``task|metric`` and [value, low, high]; an empty task is the making of it."""
    key = outcome.key
    for task, metric in asked:
        yield f"{task}|{metric}", _of(content.score(key, task, metric))
    if (using := inference_memory(content, key)) is not None:
        yield "|".join(using), _of(content.score(key, *using))
    yield "|checkpoint_bytes", _of(content.made(key, "checkpoint_bytes"))
    last = content.last_training(key)
    for metric in OF_TRAINING:
        yield f"|{metric}", _of(last.get(metric))
    cost = content.costs.get(key)
    if cost is not None and not cost["seconds"].isna().any():
        found = mean_interval(cost["seconds"].tolist())
        if found is not None:
            yield "|wall_seconds", [found.estimate, found.low, found.high]


def _of(line: Line | None) -> Number:
    return [None, None, None] if line is None else [line["value"], line["low"], line["high"]]


def _metric(key: str) -> dict[str, str]:
    task, _, name = key.rpartition("|")
    told = declared(name)
    label = "Making it" if key == "|wall_seconds" else told.label
    return {"key": key, "label": label, "task": task, "unit": told.unit, "direction": told.direction}


def _place(content: Content, used: set[str]) -> Any:
    """Tasks in their order, then what making it took."""
    order = {task: number for number, task in enumerate(content.tasks)}

    def place(key: str) -> tuple[int, str]:
        task, _, name = key.rpartition("|")
        return (order.get(task, len(order)), name)

    return place
