"""Fine-tuning: what a method learned, what it made the model forget, and what a further task of its own weighs."""

from __future__ import annotations

from harness.report.alike import training_memory
from harness.report.cells import difference_value, method_columns, method_values, metric_value
from harness.report.content import Content
from harness.report.document import Column, Paragraph, Row, Section, Table, Value
from harness.report.numbers import pretty
from harness.report.outcomes import Key
from harness.report.results import set_title
from harness.report.tokenizer_speed import task_settings

QUALITY = "bits_per_byte"
EXPLANATION = (
    "Differences from the model before fine-tuning, paired over the test items: below zero is learned, above zero "
    "forgotten. A further task weighs what its checkpoint adds to a base that is there already: the adapter alone, "
    "or the whole model where every weight was trained."
)


def forgetting(content: Content) -> Section | None:
    """The section, or None where no trained model was measured on running text beside the base."""
    tables = [table for which in content.sets if (table := _table(content, which)) is not None]
    title = "What fine-tuning teaches and what it forgets"
    return Section(title, [Paragraph(EXPLANATION, "note"), *tables]) if tables else None


def _table(content: Content, which: Key) -> Table | None:
    tasks = [task for task in content.tasks_with(QUALITY) if task.partition("(")[0] == "perplexity"]
    general = next((task for task in tasks if task_settings(task)["view"] == "text"), None)
    learned = [task for task in tasks if task != general]
    tuned = [
        outcome for outcome in content.groups(which)
        if "further_task_bytes" in (lines := content.last_training(outcome.key)) and "teacher_parameters" not in lines
        and " > " not in str(outcome.key[0])
        and any(content.score(outcome.key, task, QUALITY) is not None for task in tasks)
    ]  # fmt: skip
    based = content.baseline == "base" and any(outcome.key[0] == "base" for outcome in content.groups(which))
    if general is None or not tuned or not based:
        return None
    columns = [
        *method_columns(), *(Column("Learned", f"{QUALITY.replace('_', ' ')}, {task}") for task in learned),
        Column("Forgotten", "bits per byte, running text"), Column("Trainable", "share of parameters"),
        Column("A further task", "bytes"), Column("Optimiser step", "median"), Column("Peak memory", "rise, training"),
    ]  # fmt: skip
    rows = []
    for outcome in tuned:
        lines = content.last_training(outcome.key)
        names = ("trainable_share", "further_task_bytes", "step_seconds")
        facts = [metric_value(lines.get(name), digits=3, marks=False).text for name in names]
        facts.append(pretty(training_memory(content, outcome.key), "B", 3))
        scores = [difference_value(content.score(outcome.key, task, QUALITY)) for task in (*learned, general)]
        rows.append(Row([*method_values(outcome), *scores, *map(Value, facts)]))
    return Table(columns, rows, set_title(which))
