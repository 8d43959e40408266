"""From a suite's name to its plan against what the results folder holds already."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.errors import StoreError, UsageError, did_you_mean
from harness.plan.job import jobs
from harness.plan.machine import Machine
from harness.plan.plan import Plan, plan
from harness.plan.sources import DataSource, hub_word
from harness.plan.steps import Step
from harness.plan.suite import Suite, load
from harness.redaction import redacted
from harness.results.record import Record
from harness.results.store import Store
from harness.run.environment import ISOLATION_MODES, hard_id, plan_time_facts

SUITES = Path("suites")
# Statuses of an attempt that says nothing about what was tried.
UNFINISHED = ("done", "skipped", "interrupted")


def suite_file(name: str) -> Path:
    """Return the file of a suite given by path or by the name of a file in ``suites/``."""
    path = Path(name)
    if path.is_file():
        return path
    if path.suffix in (".yaml", ".yml") or path.name != name:
        raise UsageError(f"suite file {name} does not exist")
    known = [file.stem for file in sorted(SUITES.glob("*.yaml"))]
    if name not in known:
        raise UsageError(f"unknown suite '{name}'{did_you_mean(name, known)} (looked for {SUITES / name}.yaml)")
    return SUITES / f"{name}.yaml"


def planned(name: str, results: Path, isolation: str) -> Plan:
    """Plan a suite here; steps that this installation has measured already are done."""
    suite = load(suite_file(name))
    return plan_of(suite, Store(results), isolation)


def plan_of(
    suite: Suite, store: Store, isolation: str, *, since: str = "", elsewhere: Machine | None = None
) -> Plan:
    """Plan a suite against a store; ``UsageError`` where the isolation is unknown or there is nothing to measure.

    Only records that started at ``since`` (a time stamp) or later count: with the present one, nothing is done yet.
    ``elsewhere`` is what machines of an engine offer: the plan is theirs, and what any machine has measured is done.
    """
    if isolation not in ISOLATION_MODES:
        raise UsageError(f"unknown isolation mode '{isolation}'; known: {', '.join(ISOLATION_MODES)}")
    known = _Known(store, suite.name, isolation, since, anywhere=elsewhere is not None)
    made = plan(suite, done=known.done, kept=_kept(store), tried=known.tried, machine=elsewhere)
    if not made.steps:
        raise UsageError(f"{suite.file}: nothing to measure: give tasks, or a method that trains or compresses")
    return made


def write_jobs(made: Plan, folder: Path) -> int:
    """Write one job file per step that is to run (``harness run --job FILE`` runs one); return how many."""
    for source in made.missing:
        if "commit" not in source.spec:  # two machines could measure two commits under one id
            word, pinned = hub_word(source.spec), f"hub:{source.spec['id']}@<40 hex digits>"
            raise UsageError(f"which commit {word} is, is not known here: prepare the suite, or pin it: {pinned}")
    todo = [job for job in jobs(made) if "state" not in job]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for number, job in enumerate(todo, 1):
            (folder / f"{number:04d}-{job['step']}.json").write_text(json.dumps(redacted(job), indent=1) + "\n")
    except OSError as error:
        raise StoreError(f"cannot write job files to {folder}: {error.strerror}") from None
    return len(todo)


def data_sources(name: str | None) -> dict[str, DataSource]:
    """Return the data sets of a suite by name; the embedded default where no suite is given."""
    if name is None:
        return {"source": DataSource("source", {"kind": "source"})}
    return {step.data.word: step.data for step in plan(load(suite_file(name))).steps if step.reads_data}


class _Known:
    """What the store knows of steps under this machine's hard facts, or ``anywhere``."""

    def __init__(self, store: Store, suite: str, isolation: str, since: str, *, anywhere: bool = False) -> None:
        self.store, self.suite, self.isolation, self.since, self.anywhere = store, suite, isolation, since, anywhere
        self.ids: dict[Any, str] = {}

    def done(self, step: Step) -> bool:
        """Whether a step was measured."""
        return self._record(step) is not None

    def tried(self, step: Step) -> float | None:
        """The loss at the end of a trial's curve; infinite where its latest attempt failed, None where it has none."""
        record = self._record(step)
        if record is not None:
            last = record["curve"][-1].get("validation_loss") if record["curve"] else None
            return math.inf if last is None else float(last)
        latest = self.store.latest(step.id, self.suite)
        failed = latest is not None and latest["started"] >= self.since and latest["status"] not in UNFINISHED
        return math.inf if failed else None

    def _record(self, step: Step) -> Record | None:
        if step.hardware not in self.ids and not self.anywhere:
            self.ids[step.hardware] = hard_id(plan_time_facts(vars(step.hardware), self.isolation))
        found = self.store.find_done(step.id, self.ids.get(step.hardware), self.suite)
        return found if found is not None and found["started"] >= self.since else None


def _kept(store: Store) -> Callable[[Step], bool]:
    def kept(step: Step) -> bool:
        return store.has_artefact(step.id) if step.operation == "eval" else store.has_checkpoint(step.id)

    return kept
