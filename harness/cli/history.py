"""``harness history`` and ``harness accept``: what became worse over the nights, and what somebody looked at."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from harness.cli.judging import Outputs, Sources, judge, tell
from harness.errors import UsageError


def show_history(suite: str, sources: Sources, outputs: Outputs) -> int:
    """Judge the nights that are kept, measuring nothing; the exit code."""
    from harness.cli.reporting import suite_name

    return tell(judge(suite_name(suite, sources.results), sources), outputs, sources, f"history of {suite}")


def accept(series: str, suite: str | None, reason: str, days: int, sources: Sources) -> tuple[str, Path]:
    """Write an acceptance of what a series says now; return what was accepted and the file.

    ``series`` is an id or the beginning of one; ``UsageError`` where it names none, several, or nothing to accept.
    """
    from harness.analyse.accepted import acceptance_of, read, write

    shared = sources.shared()
    suites = [suite] if suite is not None else [name for name in shared.suites() if shared.nights(name).nights]
    cases = [case for name in suites for case in judge(name, sources).cases if case.id.startswith(series)]
    if not cases:
        raise UsageError(f"no series '{series}' in the nights of {', '.join(suites) or 'any suite'}")
    if len(cases) > 1:
        raise UsageError(f"'{series}' begins {len(cases)} series: {', '.join(case.id for case in cases[:5])}")
    made = acceptance_of(cases[0], reason, datetime.now(UTC).date(), days)
    write(sources.accepted_file, [*read(sources.accepted_file), made])
    return f"{made.what}, {made.in_words()}", sources.accepted_file
