"""What every output for CI says of a case beside its reason, in text that no reader stumbles over."""

from __future__ import annotations

import json
import shlex
from typing import Any

from harness import plain_text
from harness.analyse.case import ACCEPTABLE, Case
from harness.report.case_words import change_in_words, levels_in_words, smallest_in_words


def clean(text: object, most: int | None = None) -> str:
    r"""``text`` with each unshowable character as its escape (``\u0000``), cut to ``most`` characters.

    What GitHub would take for a command, ``##[`` anywhere and ``::`` first in a line, has a blank in it.
    """
    shown = plain_text.inert(plain_text.clean(text))
    return shown if most is None or len(shown) <= most else f"{shown[: most - 1]}…"


def one_line(text: object, most: int | None = None) -> str:
    """The same on one line, without blanks at its ends."""
    return clean(" ".join(str(text).split()), most)


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
    if smallest := smallest_in_words(case):
        told.append(smallest)
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
