"""``harness run``: plan, prepare the data, run what is left with a progress bar, then table and report."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from pathlib import Path

from harness.cli.planning import plan_of, suite_file
from harness.cli.progress import listener
from harness.plan.job import jobs
from harness.plan.plan import Plan
from harness.plan.steps import Step
from harness.plan.suite import Suite, load
from harness.results.record import utc_now
from harness.results.store import Store
from harness.run.events import Outcome
from harness.run.launcher import Terminated, run, run_job


def run_suite(
    name: str, *, results: Path, reports: Path | None, isolation: str, again: bool, as_json: bool
) -> int:
    """Run a suite and return the exit code."""
    suite = load(suite_file(name))
    store = Store(results)
    store.check_writable()
    store.records(suite.name)  # a record of a newer version is found before anything is measured
    outcome = run_parts(suite, store, isolation, since=utc_now() if again else "", as_json=as_json)
    if reports is not None and outcome.stopped is None:
        _report(suite.name, results, reports, as_json=as_json)
    return outcome.exit_code


def run_one_job(path: Path, *, as_json: bool) -> int:
    """Run one job file and say how it ended."""
    try:
        record = run_job(path)
    except (KeyboardInterrupt, Terminated) as stop:
        print(f"stopped; the record of {path} says how far it came", file=sys.stderr)
        return 143 if isinstance(stop, Terminated) else 130
    if as_json:
        print(json.dumps(record))
    else:
        reason = f": {record['reason']}" if record["reason"] else ""
        print(f"{record['record']} {record['status']} after {record['wall_seconds'] or 0:.1f} s{reason}")
    return 0 if record["status"] == "done" else 1


def run_parts(
    suite: Suite, store: Store, isolation: str, *, since: str, as_json: bool, told: bool = True
) -> Outcome:
    """Run all that can be planned; where parameters are tuned that is the trials first, and then the cells.

    How a trial ended is no failure of the suite: the outcome is that of the last part, with the counts of all.
    ``told``: say at the end how it went.
    """
    began, statuses, waited = time.monotonic(), Counter[str](), -1
    while True:
        plan = plan_of(suite, store, isolation, since=since)
        store.write_plan(suite.name, plan.to_dict())
        outcome = _sweep(plan, store, isolation, as_json=as_json)
        statuses += outcome.statuses
        if not plan.waiting or outcome.stopped is not None or len(plan.waiting) == waited:
            break
        waited = len(plan.waiting)
    seconds = time.monotonic() - began
    if not told:
        return outcome
    if as_json:
        _print_json(plan, outcome, statuses, seconds)
    else:
        _say(plan, outcome, statuses, seconds)
    return outcome


def _sweep(plan: Plan, store: Store, isolation: str, *, as_json: bool) -> Outcome:
    counts = plan.counts()
    if not counts["runnable"]:
        if not as_json:
            done, skipped = counts["done"], counts["skipped"]
            print(f"{plan.suite.name}: nothing to run: {done} steps done already, {skipped} skipped")
        return run(jobs(plan), store, isolation=isolation, canary=False, command=_command())
    _prepare_data(plan, store)
    with listener(plan, quiet=as_json) as on_event:
        return run(jobs(plan), store, isolation=isolation, command=_command(), on_event=on_event)


def _prepare_data(plan: Plan, store: Store) -> None:
    """Build what is built once, and read every view once, before anything is measured.

    No step's data span pays for the building, and data without what the suite needs is an error before the sweep.
    """
    from harness.data import open_dataset

    steps = [step for step in plan.steps if step.reads_data and step.state == "runnable"]
    for identity, source in {step.data.identity: step.data for step in steps}.items():
        dataset = open_dataset(source.spec, cache=store.cache)
        views = {_view(step) for step in steps if step.data.identity == identity}
        for view in sorted(view for view in views if view):
            dataset.view(view, "test")


def _view(step: Step) -> str | None:
    """The data view that a step reads."""
    return step.task.task.view() if step.task is not None else step.stage.call.adapter.view


def _command() -> list[str]:
    return ["harness", *sys.argv[1:]]


def _say(plan: Plan, outcome: Outcome, statuses: Counter[str], seconds: float) -> None:
    words = ", ".join(f"{count} {status}" for status, count in sorted(statuses.items()))
    if words:
        print(f"{plan.suite.name}: {words} in {seconds:.0f} s; {outcome.already} were done already")
    if outcome.stopped:
        print(f"stopped by {outcome.stopped}; the same command continues where this one stopped")


def _print_json(plan: Plan, outcome: Outcome, statuses: Counter[str], seconds: float) -> None:
    found = {
        "suite": plan.suite.name,
        "statuses": dict(sorted(statuses.items())),
        "already_done": outcome.already,
        "stopped": outcome.stopped,
        "seconds": round(seconds, 3),
        "exit_code": outcome.exit_code,
    }
    print(json.dumps(found))


def _report(name: str, results: Path, reports: Path, *, as_json: bool) -> None:
    from harness.cli.reporting import content, show_results
    from harness.report.build import build
    from harness.report.index import build_index

    found = content(name, results)
    written = build(found, reports / name)
    build_index(reports)
    if not as_json:
        show_results(found)
        print(f"report: {written[0]}")
