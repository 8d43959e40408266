"""``harness claims``: published statements and what the records say of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.claims import load
from harness.cli.tables import warn_unreadable
from harness.cli.terminal import print, print_json
from harness.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from harness.analyse.claimed import Judged


def show_claims(
    results: Path, files: Sequence[Path], suites: Sequence[str] | None, reports: Path | None, as_json: bool
) -> int:
    """Judge every claim, show the verdicts and write the page; the exit code."""
    claims = load(files)
    if not results.is_dir():
        raise UsageError(f"results folder {results} does not exist; run a suite first")
    from harness.analyse.claimed import judged
    from harness.results.store import Store

    for suite in suites or ():
        known = Store(results).suites()
        if suite not in known:
            raise UsageError(f"no results for suite '{suite}' in {results}{did_you_mean(suite, known)}")
    unreadable: list[str] = []
    found = judged(claims, results, suites, unreadable)
    warn_unreadable(unreadable)
    if reports is not None:
        from harness.analyse.evidence import judged_by
        from harness.report.claims import build_claims
        from harness.report.index import build_index

        written = build_claims(found, reports / "verdicts", judged_by(results, suites))
        build_index(reports)
    if as_json:
        print_json([one.to_dict() for one in found])
        return 0
    _show(found)
    if reports is not None:
        print(f"report: {written[0]}")
    return 0


def _show(found: Sequence[Judged]) -> None:
    from harness.report.claims import ORDER, measured_in_words, sides_in_words

    for verdict in ORDER:
        for one in (each for each in found if each.judgement.verdict == verdict):
            claimed = f"claimed {one.claim.published}" if one.claim.published else ""
            print(f"{verdict:<17} {one.claim.id:<22} {measured_in_words(one):<24} {claimed}")
            said = f"{one.claim.statement}{f' ({one.judgement.why})' if one.judgement.why else ''}"
            where = "" if one.chosen is None else f" [{sides_in_words(one)}, {one.chosen.suite}]"
            print(f"{'':<18}{said}{where}")
            if one.at_scale is not None:
                print(f"{'':<18}{one.at_scale.in_words()}")
    counts = Counter(one.judgement.verdict for one in found)
    print(f"{len(found)} claims: {', '.join(f'{counts[name]} {name}' for name in ORDER if counts[name])}")
