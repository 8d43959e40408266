"""``harness history`` and ``harness accept``: what became worse over the nights, and what somebody looked at."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from harness.cli.gate_verdicts import cases_of
from harness.cli.judging import Outputs, Sources, judge, tell
from harness.errors import UsageError

if TYPE_CHECKING:
    from harness.analyse.case import Case


def show_history(suite: str, sources: Sources, outputs: Outputs) -> int:
    """Judge the nights that are kept, measuring nothing; the exit code."""
    from harness.cli.reporting import suite_name

    return tell(judge(suite_name(suite, sources.results), sources), outputs, sources, f"history of {suite}")


def accept(series: str, suite: str | None, reason: str, days: int, sources: Sources) -> tuple[str, Path]:
    """Write an acceptance of what a series says now, over its nights or in the latest gate that alarmed on it; return
    what was accepted and the file.

    ``series`` is an id, the beginning of one, or a name as every output spells it; ``UsageError`` where it names none,
    several, or nothing to accept.
    """
    from harness.analyse.accepted import acceptance_of, read, write
    from harness.analyse.case import ACCEPTABLE

    shared = sources.shared()
    kept = [name for name in shared.suites() if suite in (None, name) and shared.nights(name).nights]
    judged = [case for name in kept for case in judge(name, sources).cases]
    found = [case for case in (*judged, *cases_of(sources.results, suite)) if _is_called(case, series)]
    names = list(dict.fromkeys(case.id for case in found))
    if not found:
        where = f"the nights of {', '.join(kept) or suite or 'any suite'}"
        raise UsageError(f"no series '{series}' in {where}, nor in a gate's verdict in {sources.results}")
    if len(names) > 1:
        raise UsageError(f"'{series}' begins {len(names)} series: {', '.join(names[:5])}")
    case = next((one for one in found if one.status in ACCEPTABLE), found[0])
    made = acceptance_of(case, reason, datetime.now(UTC).date(), days)
    write(sources.accepted_file, [*read(sources.accepted_file), made])
    return f"{made.what}, {made.in_words()}", sources.accepted_file


def _is_called(case: Case, series: str) -> bool:
    return case.id.startswith(series) or series in (case.series, f"{case.place.suite}: {case.series}")
