"""``harness run``: plan, fetch and prepare, run what is left with a progress bar, then table and report."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.cli.planning import plan_of, suite_file
from harness.cli.preparing import build_data, fetch_missing
from harness.cli.progress import listener
from harness.cli.terminal import print
from harness.plan.job import jobs
from harness.plan.plan import Plan
from harness.plan.suite import Suite, load
from harness.results.changed import changes
from harness.results.store import Store
from harness.run.agenda import needs
from harness.run.engines import Engine, connect
from harness.run.events import Outcome
from harness.run.launcher import run
from harness.run.scatter import scatter


@dataclass(frozen=True)
class How:
    """How a suite is run: only records that began at ``since`` or later count as done; steps whose times something else
    disturbed are measured again at most ``remeasure`` times; ``told``: say at the end how it went. With an ``engine``,
    its machines run the steps.
    """

    isolation: str = "fork"
    since: str = ""
    remeasure: int = 0
    as_json: bool = False
    told: bool = True
    engine: Engine | None = None


def run_suite(
    name: str, how: How, *, results: Path, reports: Path | None, launcher: str = "local", options: Sequence[str] = ()
) -> int:
    """Run a suite, here or over the engine ``launcher`` with options as ``KEY=VALUE``, and return the exit code."""
    suite = load(suite_file(name))
    store = Store(results)
    store.check_writable()
    store.check_readable(suite.name)  # records of a newer version are found before anything is measured
    engine = connect(launcher, options)
    try:
        outcome = run_parts(suite, store, replace(how, engine=engine))
    finally:
        if engine is not None:
            engine.close()
    if reports is not None and outcome.stopped is None:
        _report(suite.name, results, reports, as_json=how.as_json)
    return outcome.exit_code


def run_parts(suite: Suite, store: Store, how: How) -> Outcome:
    """Run all that can be planned; where parameters are tuned that is the trials first, and then the cells.

    How a trial ended is no failure of the suite: the outcome is that of the last part, with the counts of all.
    """
    began, statuses, waited = time.monotonic(), Counter[str](), -1
    before, changed = store.plans(suite.name).get(store.installation), list[str]()
    while True:
        elsewhere = None if how.engine is None else how.engine.machine()
        plan = plan_of(suite, store, how.isolation, since=how.since, elsewhere=elsewhere)
        if fetch_missing(plan, quiet=how.as_json):  # its kind and commit are known now
            suite = load(suite.file)
            continue
        if before is not None and not plan.waiting:  # cells whose parameters are not chosen yet are not gone
            changed = changes(before, jobs(plan), _job_of(store, suite.name))
            before = None
            if not how.as_json:
                _say_changes(suite.name, changed)
        store.write_plan(suite.name, plan.to_dict())
        outcome = _sweep(plan, jobs(plan), store, how)
        statuses += outcome.statuses
        if not plan.waiting or outcome.stopped is not None or len(plan.waiting) == waited:
            break
        waited = len(plan.waiting)
    statuses += _remeasured(plan, store, how, outcome)
    seconds = time.monotonic() - began
    if not how.told:
        return outcome
    if how.as_json:
        _print_json(plan, outcome, statuses, seconds, changed)
    else:
        _say(plan, outcome, statuses, seconds)
    return outcome


def _remeasured(plan: Plan, store: Store, how: How, outcome: Outcome) -> Counter[str]:
    """Measure again what was disturbed, as often as was asked for or until a round has cured nothing; the new statuses.

    What is disturbed to the end keeps its flag. The canaries of the sweep stay those of its first round.
    """
    statuses = Counter[str]()
    for _ in range(how.remeasure):
        if outcome.stopped is not None or not outcome.disturbed:
            break
        if not how.as_json:
            print(f"{len(outcome.disturbed)} steps were disturbed by other work on this machine: once more", flush=True)
        can = {job["step"] for job in jobs(plan) if _can_run(job, store)}
        lost = [step for step in outcome.disturbed if step not in can]
        todo = [_again(job, can.intersection(outcome.disturbed)) for job in jobs(plan)]
        found = _sweep(plan, todo, store, how, canary=False)
        cured = len(outcome.disturbed) > len(found.disturbed) + len(lost)
        outcome.disturbed, outcome.stopped = [*found.disturbed, *lost], found.stopped
        outcome.statuses += found.statuses
        statuses += found.statuses
        if not cured:
            break
    return statuses


def _can_run(job: Mapping[str, Any], store: Store) -> bool:
    """Whether what a job opens is still in the cache, which keeps within its limit."""
    made = needs(job)
    artefact = made.pop("reference", None)
    return all(map(store.has_checkpoint, made.values())) and (artefact is None or store.has_artefact(artefact))


def _again(job: dict[str, Any], wanted: Collection[str]) -> dict[str, Any]:
    """The job as it is to be run a further time, or as done."""
    job = {key: value for key, value in job.items() if key not in ("state", "reason")}
    return job if job["step"] in wanted else job | {"state": "done"}


def _sweep(
    plan: Plan, planned: Sequence[Mapping[str, Any]], store: Store, how: How, *, canary: bool = True
) -> Outcome:
    if all(job.get("state") for job in planned):
        if not how.as_json:
            counts = plan.counts()
            what = f"{counts['done']} steps done already, {counts['skipped']} skipped"
            print(f"{plan.suite.name}: nothing to run: {what}")
        return run(planned, store, isolation=how.isolation, canary=False, command=_command())
    build_data(plan, store)
    with listener(planned, quiet=how.as_json) as on_event:
        if how.engine is not None:
            return scatter(
                planned, store, how.engine, isolation=how.isolation, command=_command(), on_event=on_event
            )
        return run(
            planned, store, isolation=how.isolation, canary=canary, command=_command(), on_event=on_event
        )


def _job_of(store: Store, suite: str) -> Callable[[str], Mapping[str, Any] | None]:
    """What gives the job that a step's latest record keeps."""

    def job_of(step: str) -> Mapping[str, Any] | None:
        found = store.latest(step, suite)
        return None if found is None else found["job"]

    return job_of


def _say_changes(name: str, found: Sequence[str]) -> None:
    if found:
        print(f"{name} is not what it was at its last run here; records of what is gone stay, and count no more:")
    for line in found:
        print(f"  {line}", flush=True)


def _command() -> list[str]:
    return ["harness", *sys.argv[1:]]


def _say(plan: Plan, outcome: Outcome, statuses: Counter[str], seconds: float) -> None:
    words = ", ".join(f"{count} {status}" for status, count in sorted(statuses.items()))
    if words:
        print(f"{plan.suite.name}: {words} in {seconds:.0f} s; {outcome.already} were done already{_others(outcome)}")
    if outcome.disturbed:
        print(f"{len(outcome.disturbed)} steps were disturbed by other work on this machine: their times are flagged")
    if outcome.stopped:
        print(f"stopped by {outcome.stopped}; the same command continues where this one stopped")


def _others(outcome: Outcome) -> str:
    count = sum(outcome.elsewhere.values())
    return f", {count} by other runs meanwhile" if count else ""


def _print_json(
    plan: Plan, outcome: Outcome, statuses: Counter[str], seconds: float, changed: Sequence[str]
) -> None:
    found = {
        "suite": plan.suite.name,
        "statuses": dict(sorted(statuses.items())),
        "already_done": outcome.already,
        "done_elsewhere": dict(sorted(outcome.elsewhere.items())),
        "disturbed": len(outcome.disturbed),
        "changed": list(changed),
        "stopped": outcome.stopped,
        "seconds": round(seconds, 3),
        "exit_code": outcome.exit_code,
    }
    print(json.dumps(found))


def _report(name: str, results: Path, reports: Path, *, as_json: bool) -> None:
    from harness.cli.reporting import content, lacking, show_results

    if why := lacking():  # what was measured is no failure
        print(f"{name}: {why}", file=sys.stderr)
        return
    from harness.report.build import build
    from harness.report.index import build_index

    found = content(name, results)
    written = build(found, reports / name)
    build_index(reports)
    if not as_json:
        show_results(found)
        print(f"report: {written[0]}")
