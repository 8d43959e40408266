"""The books of one sweep: complete jobs, skips, what other launchers did meanwhile, and the counts of how steps ended.

The local launcher and the one over an engine keep the same books; neither starts a process here.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from harness.errors import StoreError
from harness.results.cache_limit import CacheLimit
from harness.results.record import Record, blank, disturbed
from harness.results.store import Store
from harness.run.agenda import Agenda, needs
from harness.run.environment import commit_facts, environment_of
from harness.run.events import CacheOver, Event, Listener, Outcome, StepFinished
from harness.run.failures import NO_SPACE


class Books:
    """What a sweep over ``store`` writes down; ``listener`` is told."""

    def __init__(
        self, store: Store, isolation: str, preload: Sequence[str], command: Sequence[str], listener: Listener
    ) -> None:
        self.outcome = Outcome()
        self._store = store
        self._isolation = isolation
        self._listener = listener
        self._limit = CacheLimit(store)
        self._over = False
        self._context = {
            "installation": store.installation,
            "commit": commit_facts(),
            "command": list(command),
            "preload": list(preload),
            "launcher": os.getpid(),
        }

    def tell(self, event: Event) -> None:
        """Tell the listener."""
        self._listener(event)

    def complete(self, job: Mapping[str, Any]) -> dict[str, Any]:
        """Fill in what only the launcher knows: the attempt, the paths, the isolation and the sweep's context."""
        job = {key: value for key, value in job.items() if key not in ("state", "reason")}
        attempt = self._store.next_attempt(job["step"])
        log = self._store.job_paths(job["step"], attempt)[1]
        return job | {
            "attempt": attempt,
            "isolation": self._isolation,
            "cache": str(self._store.cache),
            "record": str(self._store.record_path(job["suite"], job["step"], attempt)),
            "log": str(log),
            "context": self._context,
        }

    def done_elsewhere(self, job: Mapping[str, Any], agenda: Agenda) -> bool:
        """Whether another launcher has done a claimed job since this sweep was planned; it is settled then."""
        news = self._store.news_of(job["step"])
        if news is None or news["status"] == "interrupted":
            return False
        self.outcome.elsewhere[news["status"]] += 1
        agenda.settle(job, news["status"], news["reason"])
        return True

    def skip(self, job: Mapping[str, Any], reason: str) -> Record:
        """Record a skip, unless the latest record of the step says the same already."""
        record = blank(job, "skipped", reason)
        record["environment"] = environment_of(job)
        latest = self._store.latest(job["step"], job["suite"])
        if latest is not None and (latest["status"], latest["reason"]) == ("skipped", reason):
            return latest
        self._store.write_record(record)
        return record

    def settle(self, job: Mapping[str, Any], record: Record, agenda: Agenda, index: int, seconds: float) -> None:
        """A job has its record; ``StoreError`` where that says that the disk is full."""
        status = record["status"]
        self.outcome.statuses[status] += 1
        if status == "done" and disturbed(record):
            self.outcome.disturbed.append(job["step"])
        agenda.settle(job, status, record["reason"])
        self.tell(StepFinished(job, index, agenda.total, status, seconds, record["reason"]))
        trimmed = self._limit.after({job["step"], *needs(job).values()}, agenda.needed, job["suite"])
        if trimmed.over and not self._over:
            self._over = True
            self.tell(CacheOver(trimmed.over))
        if status != "done" and str(record["reason"]).startswith(NO_SPACE):
            raise StoreError(f"{record['reason']}; what is done is kept: free space, then the same command goes on")
