"""The launcher over an engine: hands out what may run, waits for what ends first, and keeps the books of both.

It holds the claims of the steps that it has handed out, so that a local launcher on the same results folder joins in
without doing one twice. A step whose machine is lost is handed out once more. Every file that a machine needs lies
below the results folder, which all of them see under the same path.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import HarnessError, StoreError, UsageError
from harness.results.record import Record, blank, read, write_file
from harness.results.store import Store
from harness.run.agenda import Agenda, Job
from harness.run.books import Books
from harness.run.claims import Claims
from harness.run.engines import Demand, Ended, Engine, demand_of
from harness.run.environment import ISOLATION_MODES
from harness.run.events import Listener, Lost, Outcome, StepStarted, SweepFinished, Tick, Waiting
from harness.run.launcher import OTHERS_SECONDS, running_file, terminable, with_tasks
from harness.run.log import tail
from harness.run.server import PRELOAD
from harness.run.supervise import KILL_SECONDS, TERM_SECONDS, TICK_SECONDS, Terminated

SEEN_SECONDS = 30.0  # a record that was written elsewhere may be seen late
STOP_SECONDS = TERM_SECONDS + KILL_SECONDS
BEGIN_SECONDS = 3.0


def scatter(
    jobs: Iterable[Mapping[str, Any]],
    store: Store,
    engine: Engine,
    *,
    isolation: str = "fork",
    preload: Sequence[str] = PRELOAD,
    command: Sequence[str] = (),
    on_event: Listener = lambda event: None,
) -> Outcome:
    """Run jobs on an engine's machines and return how it went, as ``launcher.run`` does on this one.

    ``UsageError`` where the engine's machines cannot run them, ``StoreError`` where the results folder cannot be used.
    There are no canaries: they would tell of one machine among many.
    """
    if isolation not in ISOLATION_MODES:
        raise UsageError(f"unknown isolation mode '{isolation}'; known are {', '.join(ISOLATION_MODES)}")
    agenda = Agenda(jobs)
    with store.lock():
        engine.check(store.cache.absolute())
        preload = with_tasks(preload, agenda.runnable)
        sweep = _Scatter(store, engine, Books(store, isolation, preload, command, on_event))
        try:
            with terminable():
                sweep.run(agenda)
        except KeyboardInterrupt:
            sweep.outcome.stopped = "Ctrl-C"
        except Terminated:
            sweep.outcome.stopped = "SIGTERM"
    on_event(SweepFinished(sweep.outcome))
    return sweep.outcome


@dataclass
class _Out:
    """A job that is with the engine: as it was planned and as it was completed, and since when."""

    planned: Job
    job: Job
    demand: Demand
    since: float

    @property
    def begun(self) -> bool:
        """Whether a machine has begun it."""
        return running_file(self.job).exists()


class _Scatter:
    """The state of one run."""

    def __init__(self, store: Store, engine: Engine, books: Books) -> None:
        self.outcome = books.outcome
        self._store = store
        self._engine = engine
        self._books = books
        self._claims = Claims(store.cache / "claims", hands_out=True)
        self._out: dict[str, _Out] = {}
        self._demands: Counter[Demand] = Counter()
        self._lost: set[str] = set()
        self._looks_at = 0.0

    def run(self, agenda: Agenda) -> None:
        """Work the agenda off; whatever interrupts this first ends what is out."""
        self.outcome.already = agenda.already
        try:
            while agenda or self._out:
                self._hand_out(agenda)
                if self._out:
                    for ended in self._engine.wait(TICK_SECONDS):
                        self._take_back(ended, agenda)
                    self._look_after()
                elif agenda:
                    self._books.tell(Waiting("other runs have what is left"))
                    time.sleep(OTHERS_SECONDS)
        except BaseException as error:
            self._stop("stopped by Ctrl-C" if isinstance(error, KeyboardInterrupt) else str(error) or repr(error))
            raise

    def _hand_out(self, agenda: Agenda) -> None:
        batch = []
        while (planned := agenda.take(self._free)) is not None:
            job = self._prepared(planned, agenda)
            if job is not None:
                batch.append((job, self._job_file(job)))
        if batch:
            self._engine.start(batch)

    def _free(self, job: Job) -> bool:
        """Whether the engine has room for a job, and no other launcher has it."""
        demand = demand_of(job)
        if job.get("state") != "skipped" and self._demands[demand] >= self._engine.room(demand):
            return False
        return self._claims.take(job["step"])

    def _prepared(self, planned: Job, agenda: Agenda) -> Job | None:
        """The complete job, its file written; None where another launcher has done it or it is to be skipped."""
        if self._books.done_elsewhere(planned, agenda):
            self._claims.release(planned["step"])
            return None
        demand = demand_of(planned)
        reason = agenda.reason_to_skip(planned) or self._engine.lacks(demand)
        job = self._complete(planned)
        if reason is not None:
            self._books.settle(job, self._books.skip(job, reason), agenda, agenda.settled + 1, 0.0)
            self._claims.release(job["step"])
            return None
        for path in (Path(job["log"]), running_file(job)):
            path.unlink(missing_ok=True)
        Path(job["record"]).parent.mkdir(parents=True, exist_ok=True)
        write_file(self._job_file(job), json.dumps(job, allow_nan=False))
        self._out[job["step"]] = _Out(planned, job, demand, time.monotonic())
        self._demands[demand] += 1
        self._books.tell(StepStarted(job, agenda.settled + len(self._out), agenda.total))
        return job

    def _complete(self, planned: Job) -> Job:
        """The job with paths that mean the same on every machine."""
        job = self._books.complete(planned)
        return job | {key: str(Path(job[key]).absolute()) for key in ("cache", "record", "log")}

    def _job_file(self, job: Mapping[str, Any]) -> Path:
        return self._store.job_paths(job["step"], job["attempt"])[0].absolute()

    def _take_back(self, ended: Ended, agenda: Agenda) -> None:
        """A job has ended: its record is settled, or it runs again where its machine was lost."""
        out = self._out.pop(ended.step)
        self._demands[out.demand] -= 1
        if ended.lost is not None:
            self._claims.lost(ended.step)
        if ended.elsewhere:  # it is left to whoever does it; the claim is free again when that has ended
            agenda.give_back(out.planned)
            self._claims.release(ended.step)
            return
        record = self._record(out.job, SEEN_SECONDS if ended.lost is ended.failed is None else 0.0)
        if record is None or (ended.lost is not None and record["status"] == "interrupted"):
            record = self._without_result(out, ended, record, agenda)
        if record is not None:
            self._books.settle(out.job, record, agenda, agenda.settled + 1, float(record["wall_seconds"]))
        self._claims.release(ended.step)

    def _without_result(self, out: _Out, ended: Ended, found: Record | None, agenda: Agenda) -> Record | None:
        """The record of a step that has none of its own; None where it is to run again.

        An attempt on a machine that was lost gets its record here at once: should that machine come back, it cannot
        write a second one.
        """
        if ended.lost is not None and ended.step not in self._lost:
            self._lost.add(ended.step)
            reason = f"its machine was lost: {ended.lost}; it runs again on another"
            left = found or self._leave(out.job, "interrupted", reason)
            if left["status"] == "interrupted":
                agenda.give_back(out.planned)
                self._books.tell(Lost(out.job, ended.lost))
                return None
            return left
        reason = ended.failed or "it ended and left no record"
        if ended.lost is not None:
            reason = f"its machine was lost twice: {ended.lost}"
        if found is not None:
            out.job = self._complete(out.planned)
        return self._leave(out.job, "crashed", reason)

    def _record(self, job: Mapping[str, Any], patience: float) -> Record | None:
        """The record that a machine has written; None where there is none within ``patience`` seconds."""
        path = self._store.record_path(job["suite"], job["step"], job["attempt"])
        deadline = time.monotonic() + patience
        while not path.exists():
            if time.monotonic() >= deadline:
                return None
            time.sleep(0.1)
        self._store.remember(path)
        return read(path)

    def _leave(self, job: Mapping[str, Any], status: str, reason: str) -> Record:
        """Write a record for a step that did not, or read the one that it has written meanwhile.

        Nothing is known of the machine, so it has no hard facts.
        """
        record = blank(job, status, reason) | {"log_tail": tail(Path(job["log"]))}
        partial = Path(job["cache"]) / "partial" / f"{job['step']}.{job['attempt']}"
        shutil.rmtree(partial, ignore_errors=True)
        try:
            self._store.write_record(record)
        except StoreError:
            found = self._record(job, 0.0)
            if found is None:
                raise
            return found
        return record

    def _look_after(self) -> None:
        """Keep the claims of what is out, and say how long the first of it has been, every few seconds."""
        if time.monotonic() < self._looks_at:
            return
        self._looks_at = time.monotonic() + TICK_SECONDS
        for step in self._out:
            self._claims.touch(step)
        for out in self._out.values():
            self._books.tell(Tick(out.job, time.monotonic() - out.since))
            break

    def _stop(self, reason: str) -> None:
        """End everything that is out. What had begun has a record then; a second Ctrl-C only takes its time to end."""
        with contextlib.suppress(KeyboardInterrupt, Terminated):
            self._engine.cancel()
            self._await_stopped()
        for step, out in self._out.items():
            with contextlib.suppress(StoreError):  # the disk may be what is full
                record = self._record(out.job, 0.0)
                if record is None and out.begun:
                    record = self._leave(out.job, "interrupted", reason)
                if record is not None:
                    self.outcome.statuses[record["status"]] += 1
            self._claims.release(step)

    def _await_stopped(self) -> None:
        """Block until every job that has begun has its record; what is just beginning has some seconds to end."""
        began = time.monotonic()
        while (waited := time.monotonic() - began) < STOP_SECONDS:
            with contextlib.suppress(HarnessError):
                self._engine.wait(0.5)
            open_ones = [out for out in self._out.values() if not Path(out.job["record"]).exists()]
            if not open_ones or (waited > BEGIN_SECONDS and not any(out.begun for out in open_ones)):
                return
            time.sleep(0.1)
