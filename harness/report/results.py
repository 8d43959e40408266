"""The result table: every planned cell with how it ended, its quality, size, memory, speed and cost."""

from __future__ import annotations

from harness.analyse.size import shrinkage
from harness.analyse.statistics import mean_interval
from harness.metrics import metric as declared
from harness.report.cells import INTERVALS, method_columns, method_values, metric_column, metric_value, row_kind
from harness.report.content import SET, Content, one_line
from harness.report.document import Block, Column, Paragraph, Row, Section, Table, Value
from harness.report.numbers import pretty
from harness.report.outcomes import Key, Outcome

SHOWN = (
    "bits_per_byte", "classification_accuracy", "choice_accuracy", "decode_tokens_per_second", "bytes_per_token",
    "token_parity", "judge_reward", "masked_accuracy", "pseudo_perplexity",
    "denoising_bits_per_byte", "chrf", "bleu", "rouge_l",
)  # fmt: skip
GENERATION = "decode_tokens_per_second"
# Tasks that fill tables of their own: a column each would drown the rest.
OWN_TABLES = ("tokenization_speed",)
NOT_USE = (*OWN_TABLES, "tokenization", "language_parity", "frontier", "training_memory")
# What every step reports about itself; never the result of a task.
OVERHEAD = frozenset({
    "wall_seconds", "peak_memory_bytes", "peak_memory_rise_bytes", "runtime_memory_bytes", "loaded_memory_bytes",
    "contention_share", "supervisor_cpu_share", "parameters", "checkpoint_bytes", "weight_bytes", "bits_per_weight",
    "cuda_peak_allocated_bytes", "cuda_peak_reserved_bytes", "cuda_peak_active_bytes", "cuda_alloc_retries",
})  # fmt: skip


def results(content: Content) -> Section:
    """The section with one table per model, data and hardware."""
    blocks: list[Block] = [Paragraph(INTERVALS, "note")]
    if content.plan.get("settings"):
        blocks.append(Paragraph(str(content.plan["settings"]), "note"))
    blocks += [_table(content, which) for which in content.sets]
    if not content.sets:
        blocks = [Paragraph("Nothing was planned and nothing has run.", "note")]
    return Section("Results", blocks)


def task_metrics(content: Content, which: Key) -> list[tuple[str, str]]:
    """(task, metric) of the columns: what is usually asked of a task, else its first metric with a better side."""
    keys = {outcome.key for outcome in content.groups(which)}
    metrics: dict[str, set[str]] = {}
    for line in (line for key in keys for line in content.lines(key)):
        metrics.setdefault(line["task"], set()).add(line["metric"])
    found = []
    for task in content.tasks:
        if task.partition("(")[0] in OWN_TABLES:
            continue
        here = metrics.get(task, set())
        shown = [name for name in SHOWN if name in here]
        others = sorted(name for name in here - OVERHEAD if declared(name).direction != "none")
        found += [(task, name) for name in (shown or others[:1])]
    return found


def inference_memory(content: Content, key: Key) -> tuple[str, str] | None:
    """(task, metric) whose peak memory stands for using the model: generation where it was measured, else any task."""
    of_models = [task for task in content.tasks if task.partition("(")[0] not in NOT_USE]
    tasks = content.tasks_with(GENERATION) or of_models
    for metric in ("cuda_peak_allocated_bytes", "peak_memory_rise_bytes", "peak_memory_bytes"):
        for task in tasks:
            if content.score(key, task, metric) is not None:
                return task, metric
    return None


def set_title(which: Key) -> str:
    """``model embedded · data source · hardware cpu``."""
    return one_line(f"{name} {value}" for name, value in zip(SET, which, strict=True) if value)


def base_size(content: Content, which: Key) -> str:
    """What the sizes of a set are compared with, in words."""
    parameters = content.base_parameters(which)
    return f" · 16-bit base {pretty(2 * parameters, 'B')}" if parameters else ""


def _table(content: Content, which: Key) -> Table:
    metrics = task_metrics(content, which)
    used = _used_by(content, which)
    columns = [
        *method_columns(), Column("Status", "seeds", "status"),
        *(metric_column(metric, task) for task, metric in metrics),
        Column("Size on disk", "against 16 bit"),
        *([Column("Memory in use", used)] if used else []),
        Column("Making it", "train + compress"),
    ]  # fmt: skip
    width = len(columns) - 2
    rows = [_row(content, which, outcome, metrics, width, bool(used)) for outcome in content.groups(which)]
    return Table(columns, rows, f"{set_title(which)}{base_size(content, which)}")


def _row(
    content: Content, which: Key, outcome: Outcome, metrics: list[tuple[str, str]], width: int, used: bool
) -> Row:
    key, kind = outcome.key, row_kind(content, outcome)
    seeds = f"{outcome.seeds} seeds" if outcome.seeds > 1 else ""
    start = [*method_values(outcome), Value(outcome.status.replace("_", " "), seeds, kind="status")]
    scores = [metric_value(content.score(key, task, metric)) for task, metric in metrics]
    memory = [_memory(content, key)] if used else []
    values = [*scores, _size(content, which, key), *memory, _cost(content, key)]
    if outcome.status != "done" and all(value.text == Value().text for value in scores):
        return Row([*start, Value(outcome.reason or "-", kind="reason", span=width)], kind)
    if outcome.reason:
        start[-1] = Value(start[-1].text, outcome.reason, kind="status")
    return Row([*start, *values], kind)


def _used_by(content: Content, which: Key) -> str:
    """What used the models while the memory was measured, in words; nothing where no task used one."""
    if which[0] == "none":
        return ""
    found = [inference_memory(content, outcome.key) for outcome in content.groups(which)]
    tasks = list(dict.fromkeys(one[0] for one in found if one is not None))
    if not tasks:
        return ""
    return f"rise, {'generation' if content.tasks_with(GENERATION) else ', '.join(tasks)}"


def _size(content: Content, which: Key, key: Key) -> Value:
    line = content.made(key, "checkpoint_bytes")
    if line is None:
        return Value()
    weights = content.made(key, "weight_bytes") or line
    found = shrinkage(weights["value"], content.base_parameters(which), _technique(key))
    return Value(pretty(line["value"], "B", 3), found.in_words() if found else "")


def _memory(content: Content, key: Key) -> Value:
    which = inference_memory(content, key)
    marks = bool(content.tasks_with(GENERATION))
    return metric_value(content.score(key, *which), digits=3, marks=marks) if which else Value()


def _cost(content: Content, key: Key) -> Value:
    """Seconds of all steps that made the cell, the mean over seeds, and below the largest peak of memory."""
    cost = content.costs.get(key)
    if cost is None:
        return Value("nothing to make", kind="word") if content.is_baseline(key) else Value()
    seconds, peak = mean_interval(cost["seconds"].dropna().tolist()), pretty(cost["peak_memory_bytes"].max(), "B")
    if seconds is None or cost["seconds"].isna().any():
        return Value(note=f"peak {peak}")
    return Value(pretty(seconds.estimate, "s"), f"peak {peak}")


def _technique(key: Key) -> str:
    return str(key[0]).rsplit(" > ", 1)[-1]
