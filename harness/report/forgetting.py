"""Fine-tuning: what a method learned, what it made the model forget, and what a further task of its own weighs."""

from __future__ import annotations

from harness.report.alike import pairs, training_memory
from harness.report.cells import difference_value, method_columns, method_values, metric_value
from harness.report.content import Content
from harness.report.document import Column, Paragraph, Row, Section, Table, Value
from harness.report.numbers import interval, pretty, signed
from harness.report.optimisations import memory_in_words, time_in_words
from harness.report.outcomes import Key, Outcome
from harness.report.results import set_title
from harness.report.tokenizer_speed import task_settings

QUALITY = "bits_per_byte"
FULL = "full_finetune"
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


def general_task(content: Content) -> str | None:
    """The task that scores running text, on which a fine-tuned model may have forgotten."""
    return next((task for task in _tasks(content) if task_settings(task)["view"] == "text"), None)


def forgetting_in_words(content: Content, which: Key) -> list[str]:
    """What fine-tuning costs beside full fine-tuning, and what the methods forget, a sentence each."""
    tuned = _tuned(content, which)
    return [*_costs(content, tuned), *_forgotten(content, tuned)] if tuned else []


def is_forgetting(content: Content, which: Key, task: str) -> bool:
    """Whether a task tells of this set what fine-tuning forgot and nothing else."""
    tuned = {outcome.key for outcome in _tuned(content, which)}
    scored = [one for one in content.groups(which) if content.score(one.key, task, QUALITY) is not None]
    return task == general_task(content) and bool(tuned) and all(
        one.key in tuned or content.is_baseline(one.key) for one in scored
    )


def _tasks(content: Content) -> list[str]:
    return [task for task in content.tasks_with(QUALITY) if task.partition("(")[0] == "perplexity"]


def _tuned(content: Content, which: Key) -> list[Outcome]:
    """Fine-tuned models of a set that were measured on text; none where the base or running text was not."""
    based = content.baseline == "base" and any(outcome.key[0] == "base" for outcome in content.groups(which))
    if not based or general_task(content) is None:
        return []
    return [
        outcome for outcome in content.groups(which)
        if "further_task_bytes" in (lines := content.last_training(outcome.key)) and "teacher_parameters" not in lines
        and " > " not in str(outcome.key[0])
        and any(content.score(outcome.key, task, QUALITY) is not None for task in _tasks(content))
    ]  # fmt: skip


def _costs(content: Content, tuned: list[Outcome]) -> list[str]:
    full = next((one for one in tuned if str(one.key[0]).partition("(")[0] == FULL), None)
    others = [one for one in tuned if full is not None and one.key[3] == full.key[3] and one is not full]
    if full is None or not others:
        return []
    several = " and its range over seeds" if len(pairs(content, others[0].key, full.key)) > 1 else ""
    told = [f"{one.key[0]} {time_in_words(content, one.key, full.key)}, "
            f"{memory_in_words(content, one.key, full.key)}" for one in others]  # fmt: skip
    return [f"Training against {full.key[0]} at {full.key[3]} (step, peak of memory{several}): {'; '.join(told)}."]


def _forgotten(content: Content, tuned: list[Outcome]) -> list[str]:
    task = str(general_task(content))
    scored = [(one, line) for one in tuned if (line := content.score(one.key, task, QUALITY)) is not None]
    ordered = sorted((pair for pair in scored if pair[1]["difference"] is not None), key=lambda p: p[1]["difference"])
    if not ordered:
        return []
    told = [
        f"{signed(line['difference'])} {interval(line['difference_low'], line['difference_high'])} ({one.key[0]})"
        for one, line in ordered
    ]  # fmt: skip
    lows = [line["difference_low"] for _, line in ordered]
    every = "Every fine-tuned model forgets" if all(low is not None and low > 0 for low in lows) else "Forgotten"
    ends = told[0] if len(told) < 2 else f"from {told[0]} to {told[-1]}"
    return [f"{every} (bits per byte on running text, less the base's): {ends}."]


def _table(content: Content, which: Key) -> Table | None:
    general, tuned = general_task(content), _tuned(content, which)
    if general is None or not tuned:
        return None
    learned = [task for task in _tasks(content) if task != general]
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
