"""``harness selftest``: one small suite measured again and again on this machine, and how much its numbers differ."""

from __future__ import annotations

import sys
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from harness.cli.running import How, run_parts
from harness.cli.terminal import print, print_json
from harness.errors import StepError
from harness.plan.suite import Suite, load_text
from harness.results.record import utc_now
from harness.results.store import Store

if TYPE_CHECKING:
    from harness.analyse.selftest import SelfTest
    from harness.run.events import Outcome

FILE = "selftest.yaml"


def suite_of_the_package() -> Suite:
    """The suite that is measured, which needs no checkout."""
    return load_text(files("harness.plan").joinpath(FILE).read_text(encoding="utf-8"), file=FILE)


def show_self_test(results: Path, repeats: int, isolation: str, *, as_json: bool) -> int:
    """Measure everything ``repeats`` times, show what that says of the machine, and return the exit code."""
    suite, store, since = suite_of_the_package(), Store(results), utc_now()
    store.check_writable()
    store.records(suite.name)  # a record of a newer version is found before anything is measured
    for number in range(1, repeats + 1):
        if not as_json:
            print(f"repeat {number} of {repeats}", file=sys.stderr)
        outcome = _measured_again(suite, store, isolation, since, quiet=as_json)
        if outcome.exit_code:
            print(f"{suite.name}: repeat {number} {_how(outcome)}: nothing is said of this machine", file=sys.stderr)
            return outcome.exit_code
    found = _found(store, suite.name, since)
    if as_json:
        print_json(found.to_dict())
    else:
        _show(found)
    return 0


def _measured_again(suite: Suite, store: Store, isolation: str, since: str, *, quiet: bool) -> Outcome:
    """Run the suite once more; its plan says when the self-test began, which is where its records begin."""
    from harness.analyse.selftest import SINCE

    outcome = run_parts(suite, store, How(isolation, utc_now(), as_json=quiet, told=False))
    store.write_plan(suite.name, store.plans(suite.name)[store.installation] | {SINCE: since})
    return outcome


def _found(store: Store, suite: str, since: str) -> SelfTest:
    from harness.analyse.selftest import self_test
    from harness.results.rows import compact, load

    compact(store.root, suite)
    found = self_test(load(store.root, suite), store.installation, since)
    if found is None:
        raise StepError(f"no step of {suite} could be measured here; `harness report {suite}` shows the reasons")
    return found


def _how(outcome: Outcome) -> str:
    if outcome.stopped:
        return f"was stopped by {outcome.stopped}"
    failed = {name: count for name, count in outcome.statuses.items() if name not in ("done", "skipped")}
    return f"had {', '.join(f'{count} {name}' for name, count in sorted(failed.items()))} steps"


def _show(found: SelfTest) -> None:
    from harness.report.noise import CELLS, in_cells, in_words, measured_in_words

    print(measured_in_words(found))
    lines = [CELLS, *(in_cells(one) for one in found.noise if one.random)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(CELLS))]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    for sentence in in_words(found):
        print(f"- {sentence}")
