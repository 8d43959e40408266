"""What is different about a suite since its last run here: cells that came or went, and what makes others of the rest.

A step whose id changed is measured again; its earlier records stay, and belong to no cell of the new plan.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

SHOWN = 4
# What a step is told by from one version of a suite to the next.
_SAME = ("method", "stage", "task", "model", "data", "precision", "hardware", "seed")
# What of a job enters its step's id, beside what it takes from other steps.
_IDENTITY = ("adapter", "modifiers", "task", "model", "data", "precision", "hardware", "seed", "budget")

Job = Mapping[str, Any]


def changes(before: Mapping[str, Any], jobs: Sequence[Job], job_of: Callable[[str], Job | None]) -> list[str]:
    """A line for each difference between the plan of the last run and the jobs of this one; none where nothing changed.

    ``job_of`` gives the recorded job of a step of then, or None where it left no record.
    """
    old = {step["id"]: step for step in before.get("steps") or []}
    new = {job["step"]: job for job in jobs}
    gone = {_place(step): step for step in old.values() if step["id"] not in new}
    came = {_place(job): job for job in new.values() if job["step"] not in old}
    changed = [place for place in came if place in gone]
    found = [
        *_methods("new", [came[place] for place in came if place not in gone]),
        *_methods("gone", [gone[place] for place in gone if place not in came]),
    ]
    if not changed:
        return found
    counts: Counter[str] = Counter()
    for place in changed:
        was = job_of(gone[place]["id"])
        counts.update([] if was is None else _differences(was, came[place]))
    told = [f"{text} ({count} steps)" for text, count in counts.most_common()]
    more = [f"{len(told) - SHOWN} more"] if len(told) > SHOWN else []
    what = "; ".join([*told[:SHOWN], *more]) or "what they begin with"
    return [*found, f"{len(changed)} steps are measured anew, what they measure has changed: {what}"]


def _place(step: Mapping[str, Any]) -> tuple[str, ...]:
    return (step["operation"], *(str(step["coordinates"].get(name)) for name in _SAME))


def _methods(word: str, steps: Sequence[Mapping[str, Any]]) -> list[str]:
    """``3 steps are new: lora, dpo``"""
    if not steps:
        return []
    methods = sorted({str(step["coordinates"].get("method")) for step in steps})
    more = [f"{len(methods) - SHOWN} more"] if len(methods) > SHOWN else []
    return [f"{len(steps)} steps are {word}: {', '.join([*methods[:SHOWN], *more])}"]


def _differences(was: Job, now: Job) -> Iterator[str]:
    for key in _IDENTITY:
        yield from _unlike(key, was.get(key), now.get(key))


def _unlike(place: str, was: Any, now: Any) -> Iterator[str]:
    """``budget.steps 60 -> 80`` for each value that is another one."""
    if isinstance(was, Mapping) and isinstance(now, Mapping):
        for key in sorted(was.keys() | now.keys()):
            yield from _unlike(f"{place}.{key}", was.get(key), now.get(key))
    elif isinstance(was, str) and isinstance(now, str) and now.startswith("/"):
        return  # a record keeps no folder of the machine; what lies there has a hash
    elif was != now:
        yield f"{place} {_short(was)} -> {_short(now)}"


def _short(value: Any) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 24 else f"{text[:12]}…"
