"""Whether a method is the one that a claim's pattern means."""

from __future__ import annotations

from dataclasses import fields
from functools import cache
from typing import Any

from harness.contract import TrainingParams
from harness.errors import MethodError
from harness.plan.expression import Call, parse
from harness.training.calibration import CalibrationParams

# Parameters that say how long or at which rate, not what is done.
SETTINGS = frozenset(item.name for kind in (TrainingParams, CalibrationParams) for item in fields(kind))
# Those of them in which the two sides of a ratio must agree: how much is read at once, and by which optimiser.
EQUAL = ("batch_size", "sequence_length", "optimizer", "steps", "tokens")


@cache
def matches(pattern: str, method: str) -> bool:
    """Whether ``method`` has the pattern's stages and modifiers, the parameters written there, and no other ones.

    Settings of training and calibration that the pattern does not write are free.
    """
    try:
        wanted, found = parse(pattern), parse(method)
    except MethodError:
        return False
    if len(wanted.stages) != len(found.stages):
        return False
    for one, other in zip(wanted.stages, found.stages, strict=True):
        calls, others = (one.call, *one.modifiers), (other.call, *other.modifiers)
        if len(calls) != len(others) or not all(map(_same, calls, others)):
            return False
    return True


def settings_of(method: str) -> tuple[Any, ...]:
    """What the last stage reads at once and by which optimiser, as far as it is written."""
    try:
        params = dict(parse(method).stages[-1].call.params)
    except MethodError:
        return ()
    return tuple(params.get(name) for name in EQUAL)


def _same(wanted: Call, found: Call) -> bool:
    given, there = dict(wanted.params), dict(found.params)
    if wanted.name != found.name or any(there.get(key, ...) != value for key, value in given.items()):
        return False
    return all(key in given or key in SETTINGS for key in there)
