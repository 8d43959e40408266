"""What every output for CI says of a case beside its reason, in text that no reader stumbles over."""

from __future__ import annotations

import json
import re
import shlex
from typing import Any

from harness.analyse.case import Case, Status
from harness.report.case_words import change_in_words, levels_in_words
from harness.report.numbers import pretty

# Forbidden in XML 1.0, obeyed by terminals, taken for an end of line, or changing the order in which text is read.
_UNSHOWABLE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)
# What a workflow's runner obeys wherever it stands in a line, or at a line's beginning: broken by a blank.
_COMMAND = re.compile(r"##(?=\[)|^[^\S\n]*:(?=:)", re.MULTILINE)
ACCEPTABLE: tuple[Status, ...] = ("regression", "missing")


def clean(text: object, most: int | None = None) -> str:
    r"""``text`` with each unshowable character as its escape (``\u0000``), cut to ``most`` characters.

    What GitHub would take for a command, ``##[`` anywhere and ``::`` first in a line, has a blank in it.
    """
    shown = _UNSHOWABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", str(text))
    shown = _COMMAND.sub(r"\g<0> ", shown)
    return shown if most is None or len(shown) <= most else f"{shown[: most - 1]}…"


def one_line(text: object, most: int | None = None) -> str:
    """The same on one line, without blanks at its ends."""
    return clean(" ".join(str(text).split()), most)


def what(case: Case) -> str:
    """``train lora(rank=8) @ embedded, fp32, seed 0: tokens_per_second``."""
    return f"{case.place.in_words()}: {case.metric}"


def numbers(case: Case) -> str:
    """``6 790 -> 6 310 token/s (-7.1 %, [-7.9, -6.2] %)``; what is missing is left out."""
    levels, change = levels_in_words(case), change_in_words(case)
    return f"{levels} ({change})" if levels and change else levels or change


def in_json(told: dict[str, Any]) -> str:
    """JSON for the terminal; a ``##[`` in its texts is escaped."""
    return json.dumps(told, indent=1).replace("##[", "#\\u0023[")


def particulars(case: Case, *, acceptable: bool = True) -> list[str]:
    """A line each: the numbers, since when, what changed at the same time, how to accept it; only what is known."""
    told = [numbers(case)] if numbers(case) else []
    if case.smallest is not None:
        told.append(f"smallest change that could have been found: {pretty(case.smallest, 'share')}")
    if case.since is not None:
        told.append(f"since {case.since}")
    if case.suspects:
        told.append(f"changed at the same time: {'; '.join(case.suspects)}")
    if command := accept_command(case, acceptable=acceptable):
        told.append(f"if this is meant: {command}")
    return told


def accept_command(case: Case, *, acceptable: bool = True) -> str:
    """The command that accepts a change; nothing where there is none to accept, or the series is no history's."""
    return f'harness accept {shlex.quote(case.id)} --reason "..."' if acceptable and case.status in ACCEPTABLE else ""
