"""Verdicts as Markdown for a step summary or a pull-request comment: worst first, and never over the size allowed."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from harness.analyse.case import ORDER, Case, worst_first
from harness.report.case_words import change_in_words, smallest_in_words, unit_of
from harness.report.ci.told import accept_command, one_line
from harness.report.numbers import pretty

# GitHub takes 1 MiB for a step summary and 65 536 characters for a comment.
SUMMARY_BYTES, COMMENT_BYTES = 1_000_000, 65_000
LONGEST_CELL = 400
_HEAD = "| Status | What | Before | After | Change | Why |\n|---|---|---:|---:|---:|---|\n"
_FOLD, _UNFOLD = "<details>\n<summary>", "</summary>\n\n"
_END = "\n</details>\n"
# What is added to the rows at most: two tables' heads, what folds one of them, and the line that counts the rest.
_FRAME = 2 * len(_HEAD) + len(_FOLD + _UNFOLD + _END) + 600

_MARKS = re.compile(r"([\\`*_{}\[\]#|~$!])")
_START = re.compile(r"^([-+](?!\d)|\d+(?=[.)](?:\s|$)))")  # of a list, or of a rule across the page
_GAP = "&#8203;"  # of no width: what stands around it is not taken for one mention, reference or link


def summary(
    cases: Sequence[Case], title: str, facts: Sequence[str], limit: int = SUMMARY_BYTES, *, acceptable: bool = True
) -> str:
    """The verdicts, counted, worst first, those that passed folded, in at most ``limit`` bytes of UTF-8.

    What does not fit is left out from the end, and counted in one line. ``limit`` is at least 4000.
    """
    ordered = worst_first(cases)
    opening = _opening(ordered, title, facts, limit)
    left = limit - len(opening.encode()) - _FRAME
    rows: list[str] = []
    for case in ordered:
        rows.append(_row(case, acceptable))
        left -= len(rows[-1].encode())
        if left < 0:
            rows.pop()
            break
    bad = sum(case.status != "pass" for case in ordered[: len(rows)])
    parts = [opening, _table(rows[:bad]), _folded(rows[bad:]), _missing(ordered[len(rows) :], limit)]
    return "\n".join(part for part in parts if part)


def escaped(text: object, most: int = LONGEST_CELL) -> str:
    """Text on one line that GitHub shows as it is: no markup, no table cell's end, no mention, reference or link."""
    plain = one_line(text, most).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    marked = _START.sub(r"\1\\" if plain[:1].isdigit() else r"\\\1", _MARKS.sub(r"\\\1", plain))
    marked = re.sub(r"(@|#|(?i:GH)-)(?=\w)", rf"\1{_GAP}", marked)
    return re.sub(r"(?i)(:)(?=//)|(www)(?=\.)|(mailto|xmpp)(?=:)", rf"\g<0>{_GAP}", marked)


def _opening(ordered: Sequence[Case], title: str, facts: Sequence[str], limit: int) -> str:
    counts = Counter(case.status for case in ordered)
    told = " · ".join(f"{name}: {counts[name]}" for name in ORDER if counts[name])
    lines = [f"## {escaped(title, 150)}\n", f"**{told}**\n" if told else "Nothing was judged.\n"]
    room = limit // 4
    for fact in facts:
        line = f"- {escaped(fact)}"
        room -= len(line.encode()) + 1
        if room < 0:
            break
        lines.append(line)
    return "\n".join(lines) + ("\n" if facts else "")


def _row(case: Case, acceptable: bool) -> str:
    unit = unit_of(case)
    levels = [escaped(pretty(value, unit)) for value in (case.before, case.after)]
    cells = [case.status, escaped(case.series), *levels, escaped(change_in_words(case)), _reason(case, acceptable)]
    return f"| {' | '.join(cells)} |\n"


def _reason(case: Case, acceptable: bool) -> str:
    told = [escaped(case.why)] if case.why else []
    if case.since is not None and "since" not in case.why:
        told.append(f"since {escaped(case.since)}")
    if case.suspects:
        told.append(f"changed at the same time: {escaped('; '.join(case.suspects))}")
    if smallest := smallest_in_words(case):
        told.append(escaped(smallest))
    if command := accept_command(case, acceptable=acceptable):
        told.append(f"if this is meant: {escaped(command)}")
    return "<br>".join(told)


def _table(rows: Sequence[str]) -> str:
    return _HEAD + "".join(rows) if rows else ""


def _folded(rows: Sequence[str]) -> str:
    return f"{_FOLD}passed: {len(rows)}{_UNFOLD}{_table(rows)}{_END}" if rows else ""


def _missing(cases: Sequence[Case], limit: int) -> str:
    counts = Counter(case.status for case in cases)
    told = ", ".join(f"{name}: {counts[name]}" for name in ORDER if counts[name])
    return f"{len(cases)} more were left out, for this text to stay under {limit} bytes ({told}).\n" if cases else ""
