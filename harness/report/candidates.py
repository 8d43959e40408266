"""Candidates for a decision, read from one table of a suite: quality lost, memory, time to make, speed of use."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from harness.analyse.choose import Amount, Candidate
from harness.analyse.evidence import NOISE_OF_PEAKS
from harness.analyse.statistics import Interval, mean_interval
from harness.analyse.summary import Line, compare
from harness.errors import UsageError, did_you_mean
from harness.metrics import metric as declared
from harness.report.content import Content
from harness.report.outcomes import Key, Outcome
from harness.report.results import GENERATION, inference_memory

# What quality can be judged by: all are positive, so that a share of them can be lost.
QUALITY = (
    "bits_per_byte", "classification_accuracy", "choice_accuracy", "masked_accuracy", "pseudo_bits_per_byte",
    "denoising_bits_per_byte", "chrf", "rouge_l", "preference_accuracy", "perplexity", "loss",
)  # fmt: skip
PEAKS = ("cuda_peak_allocated_bytes", "peak_memory_bytes")
Predict = Callable[[str, str], float | None]


@dataclass(frozen=True)
class Question:
    """What the candidates are compared on: one (model, data, hardware) of a suite, a task and its metric."""

    which: Key
    task: str
    metric: str
    best: Outcome
    best_value: float


def question_of(content: Content, *, model: str | None, hardware: str | None, quality: str | None) -> Question:
    """The table and the measure of quality that are asked for, or the first that there are.

    ``model`` and ``hardware`` choose the table, ``quality`` the task (with all its parameters) or the metric.
    ``UsageError`` where there is none.
    """
    which = _table(content, model, hardware)
    asked = list(_measures(content, which))
    if not asked:
        raise UsageError(
            f"nothing in this suite measures the quality of {which[0]}: add a task such as perplexity or choice"
        )
    kept = [one for one in asked if quality in (None, *one)]
    if not kept:
        known = ", ".join(dict.fromkeys(name for one in asked for name in one))
        raise UsageError(f"no quality '{quality}'{did_you_mean(quality or '', known.split(', '))}; measured: {known}")
    task, metric = kept[0]
    lines = [(one, line) for one in _done(content, which) if (line := content.score(one.key, task, metric))]
    better = min if declared(metric).direction == "lower" else max
    best, line = better(lines, key=lambda pair: pair[1]["value"])
    return Question(which, task, metric, best, line["value"])


def candidates_of(content: Content, question: Question, predict: Predict | None = None) -> list[Candidate]:
    """A candidate for every group of the table that ran to its end.

    ``predict(method, precision)`` gives the bytes that a method takes on another model, in place of what was measured.
    """
    done = _done(content, question.which)
    lines = {one.key: content.score(one.key, question.task, question.metric) for one in done}
    return [_candidate(content, question, one, lines, predict) for one in done]


def _done(content: Content, which: Key) -> list[Outcome]:
    return [one for one in content.groups(which) if one.status == "done"]


def unmeasured(content: Content, question: Question) -> dict[str, str]:
    """The other groups of the table by name: how each ended, and why."""
    others = [one for one in content.groups(question.which) if one.status != "done"]
    return {_id(one.key): f"{one.status.replace('_', ' ')}{f': {one.reason}' if one.reason else ''}" for one in others}


def _candidate(
    content: Content, question: Question, outcome: Outcome, lines: dict[Key, Line | None], predict: Predict | None
) -> Candidate:
    key, line = outcome.key, lines[outcome.key]
    method, precision = str(key[0]), str(key[3] or "")
    ties = [
        _id(other) for other, their in lines.items()
        if line is not None and their is not None and other != key
        and _cannot_be_told_apart(content, question, line, their)
    ]  # fmt: skip
    told = None if predict is None else predict(content.full_name(method), precision)
    memory = _memory(content, key) if predict is None else None if told is None else Amount(told)
    return Candidate(
        _id(key), method, precision, _loss(content, question, line, lines[question.best.key]), memory,
        _seconds(content, key), _speed(content, key), predicted=predict is not None, ties=tuple(ties),
    )  # fmt: skip


def _id(key: Key) -> str:
    return f"{key[0]} @ {key[3]}" if key[3] else str(key[0])


def _table(content: Content, model: str | None, hardware: str | None) -> Key:
    found = [one for one in content.sets if model in (None, one[0]) and _is_on(one[2], hardware)]
    if found:
        return found[0]
    has = "; ".join(f"{one[0]} on {one[2]}" for one in content.sets) or "nothing"
    wanted = " on ".join(filter(None, (model, hardware)))
    raise UsageError(f"this suite has no table of {wanted}: it has {has}")


def _is_on(found: str, hardware: str | None) -> bool:
    return hardware is None or found == hardware or found.partition("(")[0] == hardware


def _measures(content: Content, which: Key) -> Iterable[tuple[str, str]]:
    for metric in QUALITY:
        for task in content.tasks_with(metric):
            if any(content.score(one.key, task, metric) is not None for one in _done(content, which)):
                yield task, metric


def _loss(content: Content, question: Question, line: Line | None, best: Line | None) -> Amount | None:
    """Share of the best quality that is lost, with the interval of the difference."""
    if line is None or best is None:
        return None
    if line is best:
        return Amount(0.0, 0.0, 0.0)
    sign = 1 if declared(question.metric).direction == "lower" else -1
    value = sign * (line["value"] - best["value"]) / best["value"]
    ends = [sign * end / best["value"] for end in _difference(content, question, line, best)]
    return Amount(value, min(value, *ends), max(value, *ends)) if ends else Amount(value)


def _cannot_be_told_apart(content: Content, question: Question, line: Line, other: Line) -> bool:
    """Whether the interval of the difference holds none; without an interval, whether the values are the same."""
    ends = _difference(content, question, line, other)
    return min(ends) <= 0 <= max(ends) if ends else bool(line["value"] == other["value"])


def _difference(content: Content, question: Question, line: Line, other: Line) -> list[float]:
    """Ends of intervals of line - other: that paired over items and that over the seeds which both have."""
    found = (compare(line, other, content.scores)[0], _over_seeds(content, question, line, other))
    return [end for one in found if one is not None for end in (one.low, one.high) if end is not None]


def _over_seeds(content: Content, question: Question, line: Line, best: Line) -> Interval | None:
    one, two = (content.by_seed(question.metric, each["steps"]) for each in (line, best))
    shared = sorted(one.keys() & two.keys())
    return mean_interval([one[seed] - two[seed] for seed in shared]) if len(shared) > 1 else None


def _memory(content: Content, key: Key) -> Amount | None:
    """The largest peak of making and using it, the interpreter and its libraries included (on a GPU, allocated)."""
    using = inference_memory(content, key)
    for metric in PEAKS:
        told = [lines[metric]["value"] for lines in content.trained(key).values() if metric in lines]
        if using is not None and (line := content.score(key, using[0], metric)) is not None:
            told.append(line["value"])
        cost = content.costs.get(key)
        if metric == "peak_memory_bytes" and cost is not None:
            told.append(float(cost["peak_memory_bytes"].max()))
        if told:
            most = max(told)
            return Amount(most, most * (1 - NOISE_OF_PEAKS / 2), most * (1 + NOISE_OF_PEAKS / 2))
    return None


def _seconds(content: Content, key: Key) -> Amount | None:
    cost = content.costs.get(key)
    if cost is None:
        return Amount(0.0)
    if cost["seconds"].isna().any():
        return None
    found = mean_interval(cost["seconds"].tolist())
    return None if found is None else Amount(found.estimate, found.low, found.high)


def _speed(content: Content, key: Key) -> Amount | None:
    lines = (content.score(key, task, GENERATION) for task in content.tasks_with(GENERATION))
    line = next((one for one in lines if one is not None), None)
    return None if line is None else Amount(line["value"], line["low"], line["high"])
