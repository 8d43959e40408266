"""What ``nightly``, ``history`` and ``accept`` share: where nights lie, their verdicts, and how these are told."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.cli.terminal import print, print_commands
from harness.errors import UsageError
from harness.results.record import utc_now

if TYPE_CHECKING:
    from harness.analyse.accepted import Acceptance
    from harness.analyse.case import Case
    from harness.results.nights import Night
    from harness.results.shared import SharedStore

TOLD = 12  # series that the terminal names
NOTHING = 3  # the exit code of a night in which nothing at all was measured


@dataclass(frozen=True)
class Sources:
    """Where records, nights and acceptances lie; nights lie in the results folder where no store is given."""

    results: Path
    store: str | None
    accepted: Path | None = None

    def shared(self) -> SharedStore:
        """The store of the nights."""
        from harness.results.shared import SharedStore

        return SharedStore(self.store or self.results)

    def hint(self) -> str:
        """The options by which another command finds the same nights and acceptances."""
        given = [("--results", self.results if self.results != Path("results") else None), ("--store", self.store),
                 ("--accepted", self.accepted)]  # fmt: skip
        return "".join(f" {name} {shlex.quote(str(value))}" for name, value in given if value is not None)

    def acceptances(self) -> list[Acceptance]:
        """The accepted changes."""
        from harness.analyse.accepted import read

        return read(self.accepted_file)

    @property
    def accepted_file(self) -> Path:
        """The reviewed file of accepted changes."""
        from harness.analyse.accepted import FILE

        return self.accepted or self.results / FILE


@dataclass(frozen=True)
class Outputs:
    """What a verdict is written to besides the terminal."""

    reports: Path | None
    junit: Path | None
    markdown: Path | None
    annotations: bool
    as_json: bool
    strict: bool


@dataclass(frozen=True)
class Judged:
    """The nights of a suite, the verdicts at the last one, and sentences about them."""

    suite: str
    nights: list[Night]
    cases: list[Case]
    facts: list[str]


def judge(suite: str, sources: Sources, extra: Sequence[str] = ()) -> Judged:
    """Read the nights of a suite and judge every series; ``UsageError`` where there is no night."""
    from harness.analyse.history import cases_of, unknown_machines

    found = sources.shared().nights(suite)
    if not found.nights:
        where = sources.store or sources.results
        raise UsageError(f"no nights of suite '{suite}' in {where}: measure one with `harness nightly {suite}`")
    cases = cases_of(found.nights, sources.acceptances())
    last = found.nights[-1]
    facts = [
        f"{len(found.nights)} nights, the last one {last.name} at commit {str(last.commit.get('sha'))[:12]}"
        f"{' with uncommitted changes' if last.commit.get('dirty') else ''}.",
        *(f"Left out: {line}." for line in [*found.unreadable, *unknown_machines(found.nights)]),
        *_ahead(last.name, last.started),
        *extra,
    ]
    return Judged(suite, found.nights, cases, facts)


def _ahead(night: str, started: str) -> list[str]:
    """Whether the last night began later than now, so that it is last by a wrong clock."""
    now = utc_now()
    return [f"Night {night} began after now ({now}): a clock ran backwards, or was wrong."] if started > now else []


def tell(judged: Judged, outputs: Outputs, sources: Sources, title: str) -> int:
    """Print the verdicts, write what was asked for, and return the exit code."""
    from harness.analyse.case import exit_code
    from harness.report.ci.told import in_json
    from harness.report.ci.writing import write_outputs

    code = exit_code(judged.cases, strict=outputs.strict) if judged.cases else NOTHING
    lines = write_outputs(judged.cases, title, judged.facts, outputs.junit, outputs.markdown, outputs.annotations)
    if outputs.as_json:
        told = {"suite": judged.suite, "nights": len(judged.nights), "facts": judged.facts, "exit_code": code,
                "cases": [case.to_dict() for case in judged.cases]}  # fmt: skip
        print(in_json(told))
    else:
        show(judged.cases, judged.facts, hint=sources.hint())
        print_commands(lines)
    if outputs.reports is not None:  # last: whatever goes wrong there, the verdict is told
        report = write_history(judged, outputs.reports, sources)
        if not outputs.as_json:
            print(f"report: {report}")
    return code


def show(cases: Sequence[Case], facts: Sequence[str], *, hint: str | None = None) -> None:
    """Print the verdicts, worst first, passes only counted.

    ``hint``: where `harness accept` finds these series; None where it knows none of them.
    """
    from harness.analyse.case import ACCEPTABLE, ORDER, worst_first
    from harness.report.case_words import in_words
    from harness.report.ci.told import one_line

    for line in facts:
        print(one_line(line))
    counts = {name: sum(case.status == name for case in cases) for name in ORDER}
    told = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    print(f"{len(cases)} series: {told}" if cases else "nothing of the last night can be judged: see `harness plan`")
    news = [case for case in worst_first(cases) if case.status != "pass"]
    for case in news[:TOLD]:
        print(f"  {case.status:<14} {one_line(in_words(case))}")
        for suspect in case.suspects[:3]:
            print(f"  {'':<14}   changed with it: {one_line(suspect)}")
        if hint is not None and case.status in ACCEPTABLE:
            print(f"  {'':<14}   accept with: harness accept {case.id} --reason ...{hint}")
    if len(news) > TOLD:
        print(f"  and {len(news) - TOLD} more; --json names all")


def write_history(judged: Judged, reports: Path, sources: Sources) -> Path:
    """Write the suite's report with these nights in it."""
    from harness.cli.reporting import content
    from harness.report.build import build
    from harness.report.index import build_index

    found = content(judged.suite, sources.results)
    found.nights = judged.nights
    found.accepted = sources.acceptances()
    written = build(found, reports / str(found.plan["suite"]))
    build_index(reports)
    return written[0]
