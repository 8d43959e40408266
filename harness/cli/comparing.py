"""``harness compare``: two selections of records, every number of both side by side, one correction, one exit code."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.cli.terminal import print, print_commands
from harness.errors import UsageError
from harness.results.selection import Selection, compared, load, parse, select, shared, with_machine

if TYPE_CHECKING:
    from harness.analyse.case import Case
    from harness.analyse.comparison import Comparison
    from harness.cli.judging import Outputs
    from harness.results.record import Record


def show_comparison(base: str, head: str, suite: str | None, results: Path, outputs: Outputs) -> int:
    """Compare two selections, tell the verdicts and return the exit code."""
    from harness.analyse.comparison import compare

    sides = parse(base, results), parse(head, results)
    free = compared(*sides)
    known = {folder: load(folder, suite) for folder in dict.fromkeys(side.folder for side in sides)}
    facts = [f"Left out, {line}." for _, unreadable in known.values() for line in unreadable]
    records = []
    for name, side in zip(("base", "head"), sides, strict=True):
        found, left = with_machine(select(known[side.folder][0], side), f"{name} ({side.text})")
        records.append(found)
        facts.append(_in_words(name, side, found, left))
    if both := shared(*records):
        whole = both == len(records[0]) == len(records[1])
        raise UsageError(f"base and head are the same {both} records" if whole else
                         f"{both} records are in base and in head: narrow one of them")  # fmt: skip
    made = compare(records[0], records[1], free)
    _check_overlap(made, sides)
    if made.added:
        facts.append(f"In the head alone: {counted(made.added, 'cell')}.")
    if made.left:
        facts.append(f"In the base alone, of what makes its method: {counted(made.left, 'step')}.")
    if made.failed:
        facts.append(f"Not done in the base, so that nothing is known of it: {counted(made.failed, 'cell')}.")
    facts += [f"Times and memory are left out, which other hard facts decide: {differ}." for differ in made.apart]
    return tell_cases(f"{base} against {head}", made.cases, facts, outputs)


def tell_cases(
    title: str, cases: Sequence[Case], facts: Sequence[str], outputs: Outputs, hint: str | None = None
) -> int:
    """Print verdicts, write what was asked for, and return the exit code; ``hint`` is that of `harness accept`, which
    knows these series where it is given.
    """
    from harness.analyse.case import exit_code
    from harness.cli.judging import show
    from harness.report.ci.markdown import COMMENT_BYTES
    from harness.report.ci.told import in_json
    from harness.report.ci.writing import write_outputs

    code = exit_code(cases, strict=outputs.strict)
    lines = write_outputs(
        cases, title, facts, outputs.junit, outputs.markdown, outputs.annotations, limit=COMMENT_BYTES,
        acceptable=hint is not None,
    )  # fmt: skip
    if outputs.as_json:
        told = {"title": title, "facts": list(facts), "exit_code": code, "cases": [case.to_dict() for case in cases]}
        print(in_json(told))
        return code
    show(cases, facts, hint=hint)
    print_commands(lines)
    return code


def counted(number: int, what: str) -> str:
    """``1 cell``, ``2 cells``."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def _check_overlap(made: Comparison, sides: tuple[Selection, Selection]) -> None:
    told = " and ".join(f"'{side.text}'" for side in sides)
    if not made.shared:
        raise UsageError(f"{told} have no cell in common: there is nothing to compare")
    if not made.cases:
        raise UsageError(f"{told} have {counted(made.shared, 'cell')} in common, and no number to compare: "
                         f"{made.failed} not done in the base{', the machines differ' * bool(made.apart)}")  # fmt: skip


def _in_words(name: str, side: Selection, records: Sequence[Record], left: int) -> str:
    commits = sorted({str(record["commit"].get("sha"))[:12] for record in records})
    told = ", ".join(commits[:3]) + (f" and {len(commits) - 3} more" if len(commits) > 3 else "")
    lacking = f"; {left} without machine facts are left out" if left else ""
    return f"{name.capitalize()} {side.text}: {len(records)} records of commit {told}{lacking}."
