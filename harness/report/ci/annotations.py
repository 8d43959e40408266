"""Workflow commands by which GitHub shows verdicts beside a run: at most ten of a kind, which is all that it shows."""

from __future__ import annotations

from collections.abc import Sequence

from harness.analyse.case import Case, Status, worst_first
from harness.report.ci.told import clean, one_line, particulars

MOST = 10
LONGEST_TITLE, LONGEST_MESSAGE = 200, 4000
# What ends a run with another exit code than 0 is an error; what says nothing either way is a warning.
_KIND: dict[Status, str] = {
    "regression": "error", "errored": "error", "missing": "error", "refused": "error", "insufficient": "warning",
    "machine moved": "warning", "accepted": "notice", "improvement": "notice",
}  # fmt: skip


def annotation_lines(cases: Sequence[Case], *, acceptable: bool = True) -> list[str]:
    """A line per case that did not pass, worst first; where a kind has more than ten its tenth line counts the rest."""
    ordered = worst_first(cases)
    lines = []
    for kind in ("error", "warning", "notice"):
        found = [case for case in ordered if _KIND.get(case.status) == kind]
        shown = found if len(found) <= MOST else found[: MOST - 1]
        lines += [_annotation(kind, case, acceptable) for case in shown]
        if more := len(found) - len(shown):
            lines.append(_command(kind, f"{more} more", f"{more} more series are in the summary"))
    return lines


def _annotation(kind: str, case: Case, acceptable: bool) -> str:
    title = one_line(f"{case.status}: {case.series}", LONGEST_TITLE)
    message = "\n".join([case.why or case.status, *particulars(case, acceptable=acceptable)])
    return _command(kind, title, clean(message, LONGEST_MESSAGE))


def _command(kind: str, title: str, message: str) -> str:
    """One command, escaped as GitHub's toolkit does; an empty message would not be shown."""
    return f"::{kind} title={_escaped(title).replace(':', '%3A').replace(',', '%2C')}::{_escaped(message)}"


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
