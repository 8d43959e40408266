"""A case in one line, the same in the terminal, on the page and in what CI systems read."""

from __future__ import annotations

from harness.analyse.case import Case
from harness.metrics import METRICS
from harness.report.numbers import interval, pretty, signed

DETECTABLE = "smallest detectable change"


def in_words(case: Case) -> str:
    """``train lora @ embedded, ...: tokens_per_second: 6 790 -> 6 310 (-7.1 %, [-7.9, -6.2] %): worse since ...``."""
    levels = levels_in_words(case)
    change = change_in_words(case)
    told = f": {levels}{f' ({change})' if change else ''}" if levels else ""
    silent = smallest_in_words(case) if case.status in ("pass", "insufficient") else ""
    return f"{case.series}{told}: {case.why}{f'; {silent}' if silent else ''}"


def smallest_in_words(case: Case) -> str:
    """``smallest detectable change 3.4 %``; nothing where it is not known."""
    return "" if case.smallest is None else f"{DETECTABLE} {pretty(case.smallest, 'share')}"


def levels_in_words(case: Case) -> str:
    """The level before and the one after, in a fitting unit; nothing where there is none."""
    if case.before is None or case.after is None:
        return ""
    unit = unit_of(case)
    return f"{pretty(case.before, unit)} -> {pretty(case.after, unit)}"


def change_in_words(case: Case) -> str:
    """The relative change with its interval; nothing where it means nothing."""
    if case.change is None:
        return ""
    bounds = interval(case.low, case.high, "share")
    return f"{signed(case.change, 'share')}{f', {bounds} %' if bounds else ''}"


def unit_of(case: Case) -> str:
    """The unit of a case's levels."""
    return METRICS[case.metric].unit if case.metric in METRICS else "1"
