"""What lm-eval makes of answers to its requests: values of metrics, of all items together and one by one."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from harness.errors import StepError
from harness.plain_text import one_line

# Metrics over (log-likelihood, size of the text) of each item, and what the size is called.
_SIZES = {"word_perplexity": "words", "byte_perplexity": "bytes", "bits_per_byte": "bytes"}


def values(task: Any, wanted: str | None, limit: int | None) -> tuple[dict[str, list[Any]], dict[int, dict[str, Any]]]:
    """Values of every metric in the order of the items, and by item, of a task whose requests are answered.

    ``wanted`` is the filter that decides an answer, None the task's first; ``StepError`` where it has no such one.
    """
    task.apply_filters()
    requests = defaultdict(list)
    for instance in task.instances:
        requests[instance.doc_id].append(instance)
    known = list(task.instances[0].filtered_resps)
    chosen = known[0] if wanted is None else wanted
    if chosen not in known:
        raise StepError(f"the task {task.config.task} has no filter '{one_line(chosen, 60)}' ({', '.join(known)})")
    found: dict[str, list[Any]] = defaultdict(list)
    items: dict[int, dict[str, Any]] = {}
    for number, document in task.doc_iterator(limit=limit):
        asked = sorted(requests[number], key=lambda instance: instance.idx)
        items[number] = dict(task.process_results(document, [one.filtered_resps[chosen] for one in asked]))
        for name, value in items[number].items():
            found[name].append(value)
    return found, items


def by_type(instances: Sequence[Any]) -> dict[str, list[Any]]:
    """Requests by the question that they ask, one as often as the task repeats it."""
    found: dict[str, list[Any]] = {}
    for instance in instances:
        found.setdefault(instance.request_type, []).extend([instance] * (instance.repeats or 1))
    return found


def columns(items: Mapping[int, Mapping[str, Any]], metrics: Sequence[str]) -> dict[str, list[Any]]:
    """One column for every metric that is a number of an item; of likelihoods the loss, and the sizes of the texts.

    What is made of all items together (f1, bleu ...) has none.
    """
    columns: dict[str, list[Any]] = {"item": list(items)}
    for name in metrics:
        column: list[Any] = [found.get(name) for found in items.values()]
        if name in _SIZES and all(isinstance(one, tuple) for one in column):
            columns["nll"] = [-float(one[0]) for one in column]
            columns[_SIZES[name]] = [int(one[1]) for one in column]
        elif name == "perplexity":
            columns["nll"] = [-float(one) for one in column]
        elif all(_is_number(one) for one in column):
            columns[name] = [float(one) for one in column]
    return columns


def _is_number(value: Any) -> bool:
    try:
        return not isinstance(value, str) and math.isfinite(float(value))
    except (TypeError, ValueError):
        return False
