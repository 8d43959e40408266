"""What every output for CI says of a case beside its reason, in text that no reader stumbles over."""

from __future__ import annotations

import re
import shlex

from harness.analyse.case import Case, Status
from harness.report.case_words import change_in_words, levels_in_words
from harness.report.numbers import pretty

# Forbidden in XML 1.0, obeyed by terminals, taken for an end of line, or changing the order in which text is read.
_UNSHOWABLE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)
ACCEPTABLE: tuple[Status, ...] = ("regression", "missing")


def clean(text: object, most: int | None = None) -> str:
    r"""``text`` with each unshowable character as its escape (``\u0000``), cut to ``most`` characters."""
    shown = _UNSHOWABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", str(text))
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


def particulars(case: Case) -> list[str]:
    """A line each: the numbers, since when, what changed at the same time, how to accept it; only what is known."""
    told = [numbers(case)] if numbers(case) else []
    if case.smallest is not None:
        told.append(f"smallest change that could have been found: {pretty(case.smallest, 'share')}")
    if case.since is not None:
        told.append(f"since {case.since}")
    if case.suspects:
        told.append(f"changed at the same time: {'; '.join(case.suspects)}")
    if command := accept_command(case):
        told.append(f"if this is meant: {command}")
    return told


def accept_command(case: Case) -> str:
    """The command that accepts a change; nothing where there is none to accept."""
    return f'harness accept {shlex.quote(case.id)} --reason "..."' if case.status in ACCEPTABLE else ""
