"""Whether what a file says has the shape that everything after the reading relies on; nothing later asks again.

Records, plans and nights come from folders that anybody may have written. ``misfit`` functions return the first place
that does not fit, in words, or None. What they let through may be wrong, but no reader stumbles over its kind.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from harness.plain_text import is_name

AXES = ("method", "model", "data", "precision", "hardware")
TEXTS = (*AXES, "stage", "technique", "task")
# No quantity of ours comes near; squares of it and sums of squares are still numbers.
LARGEST = 1e100
OF_A_MACHINE = ("cpu_model", "cores", "memory_gib")
LARGEST_COUNT = 2**53
LONGEST_TEXT = 1_000_000
_DAY = r"\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])"
_TIME = re.compile(rf"{_DAY}T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{{1,6}})?Z", re.ASCII)
_STATES = ("runnable", "skipped", "done")

Check = Callable[[Any], bool]


def is_number(value: Any) -> bool:
    """A finite number that sums and squares do not overflow, and that 64 bits hold; no truth value."""
    if type(value) is int:
        return -(2**63) <= value < 2**63
    return isinstance(value, float) and -LARGEST <= value <= LARGEST


def is_number_or_none(value: Any) -> bool:
    """The same, or nothing."""
    return value is None or is_number(value)


def is_count(value: Any) -> bool:
    """A whole number from 0 that a float holds exactly."""
    return type(value) is int and 0 <= value <= LARGEST_COUNT


def is_text(value: Any) -> bool:
    """A text that is not absurdly long."""
    return isinstance(value, str) and len(value) <= LONGEST_TEXT


def is_text_or_none(value: Any) -> bool:
    """The same, or nothing."""
    return value is None or is_text(value)


def is_time(value: Any) -> bool:
    """A time of day as the harness writes it: ISO 8601 in UTC with a Z."""
    return isinstance(value, str) and _TIME.fullmatch(value) is not None


def is_seed(value: Any) -> bool:
    """A seed, or nothing."""
    return value is None or is_count(value)


def misfit_of_record(record: Mapping[str, Any]) -> str | None:
    """The first part of a record that has another shape than the harness gives it; ``_REQUIRED`` types are known."""
    for name, check in _RECORD.items():
        if not check(record[name]):
            return name
    return None


def misfit_of_plan(plan: Any) -> str | None:
    """The first part of a plan that has another shape than the harness gives it."""
    if not isinstance(plan, dict):
        return "the whole"
    for name, check in _PLAN.items():
        if name in plan and not check(plan[name]):
            return name
    return None


def misfit_of_job(job: Mapping[str, Any]) -> str | None:
    """The first part of a job file that has another shape than the plan gives it; what it names is run as it is."""
    return next((name for name, check in _JOB.items() if not check(job.get(name))), None)


def is_coordinates(value: Any) -> bool:
    """The coordinates of a step or cell: texts or nothing by name, a seed, and parameters."""
    if not isinstance(value, dict) or not all(is_text_or_none(value.get(name)) for name in TEXTS):
        return False
    return is_seed(value.get("seed")) and isinstance(value.get("params"), dict | None)


def is_machine(value: Any) -> bool:
    """Hard facts: scalars and lists of them by name; what tells machines apart are scalars."""
    if not isinstance(value, dict) or not all(_scalar(value.get(name)) for name in OF_A_MACHINE):
        return False
    return all(_scalar(item) or _each(_scalar)(item) for item in value.values())


def is_software(value: Any) -> bool:
    """Soft facts: scalars, lists of them, and the libraries' versions."""
    if not isinstance(value, dict) or not _or_none(_by_text(is_text_or_none))(value.get("libraries")):
        return False
    rest = (item for name, item in value.items() if name != "libraries")
    return is_text(value.get("environment", "main")) and all(_scalar(item) or _each(_scalar)(item) for item in rest)


def _numbers(value: Any) -> bool:
    """A list of numbers, some of which may be missing."""
    if not isinstance(value, list):
        return False
    if set(map(type, value)) <= {float, int}:  # the usual case, a hundred values in one comparison
        return not value or (min(value) >= -LARGEST and max(value) <= LARGEST)
    return all(map(is_number_or_none, value))


def _by_text(check: Check) -> Check:
    return lambda value: isinstance(value, dict) and all(map(check, value.values()))


def _or_none(check: Check) -> Check:
    return lambda value: value is None or check(value)


def _each(check: Check) -> Check:
    return lambda value: isinstance(value, list) and all(map(check, value))


def _span(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and is_text(value.get("name"))
        and is_number_or_none(value.get("seconds"))
        and "seconds" in value
        and is_number_or_none(value.get("peak_memory_bytes"))
        and _or_none(_by_text(is_number_or_none))(value.get("cuda"))
    )


def _optimizer_steps(value: Any) -> bool:
    return _or_none(is_count)(value.get("warmup")) and all(
        _or_none(_numbers)(value.get(name)) for name in ("seconds", "loss")
    )


def _point(value: Any) -> bool:
    return isinstance(value, dict) and is_count(value.get("step")) and all(map(is_number_or_none, value.values()))


def _item_set(value: Any) -> bool:
    """Columns of equal length with a score or a name for each item."""
    if not isinstance(value, dict) or not all(isinstance(column, list) for column in value.values()):
        return False
    if len({len(column) for column in value.values()}) > 1:
        return False
    return all(_numbers(column) or all(map(_scalar, column)) for column in value.values())


def _scalar(value: Any) -> bool:
    return isinstance(value, bool) or is_number_or_none(value) or is_text(value)


def _environment(value: Any) -> bool:
    named = all(is_text_or_none(value.get(name)) for name in ("installation", "hard_id"))
    return named and is_machine(value.get("hard")) and _or_none(is_software)(value.get("soft"))


def _job(value: Any) -> bool:
    """What is looked up in a job: its budget, and the parameters of its parts."""
    if not all(isinstance(value.get(name), dict | None) for name in ("adapter", "task", "budget", "model", "data")):
        return False
    return all(isinstance((value.get(name) or {}).get("params"), dict | None) for name in ("adapter", "task"))


def _commit(value: Any) -> bool:
    return is_text_or_none(value.get("sha")) and isinstance(value.get("dirty"), bool | None)


def _plan_cell(value: Any) -> bool:
    return is_coordinates(value) and _or_none(_each(is_text))(value.get("steps")) and is_text_or_none(value.get("id"))


def _plan_step(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and is_text(value.get("id"))
        and _or_none(is_coordinates)(value.get("coordinates"))
        and is_text_or_none(value.get("reason"))
        and value.get("state", "runnable") in _STATES
        and all(is_text_or_none(value.get(name)) for name in ("operation", "input", "reference"))
        and _or_none(_by_text(is_text))(value.get("inputs"))
        and _or_none(_each(is_count))(value.get("cells"))
    )


def _trial(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and all(is_text(value.get(name)) for name in ("method", "of", "parameter", "step"))
        and all(is_text_or_none(value.get(name)) for name in ("model", "data", "precision", "hardware"))
        and is_number_or_none(value.get("loss"))
        and isinstance(value.get("chosen"), bool)
        and _scalar(value.get("value"))
    )


def _notes(value: Any) -> bool:
    return is_text(value) or _each(is_text)(value)


_RECORD: dict[str, Check] = {
    "record": is_text,
    "step": is_name,
    "attempt": is_count,
    "suite": is_text,
    "coordinates": is_coordinates,
    "job": _job,
    "environment": _environment,
    "reason": is_text_or_none,
    "started": is_time,
    "wall_seconds": is_number,
    "commit": _commit,
    "command": _each(is_text),
    "spans": _each(_span),
    "optimizer_steps": _optimizer_steps,
    "curve": _each(_point),
    "metrics": _by_text(is_number_or_none),
    "samples": _by_text(_numbers),
    "items": _by_text(_item_set),
    "flags": _each(is_text),
    "log_tail": _each(is_text),
}
_JOB: dict[str, Check] = {
    "step": is_name,
    "suite": is_name,
    "attempt": _or_none(is_count),
    "coordinates": is_coordinates,
    "hardware": lambda value: isinstance(value, dict)
    and is_text(value.get("device", "cpu"))
    and all(_or_none(is_count)(value.get(name)) for name in ("devices", "threads", "ranks")),
    "limits": _or_none(_by_text(is_number_or_none)),
    "context": lambda value: value is None or isinstance(value, dict),
    "environment": is_text_or_none,
    "cache": is_text_or_none,
    "record": is_text_or_none,
    "log": is_text_or_none,
}
_PLAN: dict[str, Check] = {
    "suite": is_text_or_none,
    "question": is_text_or_none,
    "notes": _or_none(_notes),
    "baseline": is_text_or_none,
    "limits": _or_none(_by_text(is_number_or_none)),
    "counts": _or_none(_by_text(is_number_or_none)),
    "cells": _or_none(_each(_plan_cell)),
    "steps": _or_none(_each(_plan_step)),
    "trials": _or_none(_each(_trial)),
    "waiting": _or_none(_each(is_coordinates)),
    "predicted_not_to_fit": _or_none(_by_text(is_number_or_none)),
    "since": is_text_or_none,
}

