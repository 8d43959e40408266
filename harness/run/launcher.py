"""The launcher: runs the planned steps in order, one worker at a time, and sees that each leaves a record.

It takes job mappings (docs/architecture.md) and a store, tells a listener what happens, and computes nothing beside a
measurement.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness import environments
from harness.contract import MEASUREMENT_VERSION
from harness.environments import MAIN
from harness.errors import UsageError
from harness.results.record import Record, blank, utc_now
from harness.results.store import Store
from harness.run.environment import ISOLATION_MODES, commit_facts, environment_of, thread_environment, threads_of
from harness.run.events import Event, Listener, Outcome, StepFinished, StepStarted, SweepFinished, Tick
from harness.run.server import OPEN_A_GPU, PRELOAD
from harness.run.service import ServerGone, Service
from harness.run.supervise import supervise


class Terminated(BaseException):
    """SIGTERM reached the launcher."""


def run(
    jobs: Iterable[Mapping[str, Any]],
    store: Store,
    *,
    isolation: str = "fork",
    preload: Sequence[str] = PRELOAD,
    canary: bool = True,
    command: Sequence[str] = (),
    on_event: Listener = lambda event: None,
) -> Outcome:
    """Run jobs in order and return how it went; ``StoreError`` where the results folder cannot be used.

    A job may carry ``state``: ``done`` (nothing to do) or ``skipped`` with ``reason``. Ctrl-C and SIGTERM end the
    current step with a record and return an outcome that says so.
    """
    if isolation not in ISOLATION_MODES:
        raise UsageError(f"unknown isolation mode '{isolation}'; known are {', '.join(ISOLATION_MODES)}")
    planned = [dict(job) for job in jobs]
    with store.lock():
        sweep = _Sweep(store, isolation, tuple(preload), tuple(command), on_event)
        try:
            with terminable():
                sweep.run(planned, canary=canary)
        except KeyboardInterrupt:
            sweep.outcome.stopped = "Ctrl-C"
        except Terminated:
            sweep.outcome.stopped = "SIGTERM"
        finally:
            sweep.close()
    on_event(SweepFinished(sweep.outcome))
    return sweep.outcome


def run_job(path: Path, *, isolation: str | None = None, preload: Sequence[str] = ()) -> Record:
    """Run one job file by itself and return its record (planning here, measuring there); ``UsageError`` if it is none.

    Paths that the job does not name lie beside the file.
    """
    job = read_job(path)
    job["isolation"] = isolation or job.get("isolation") or "spawn"
    job.setdefault("attempt", 1)
    name = f"{job['step']}.{job['attempt']}"
    defaults = {"cache": ".cache", "record": f"{name}.record.json", "log": f"{name}.log"}
    job |= {key: str(path.parent / value) for key, value in defaults.items() if not job.get(key)}
    context = {"commit": commit_facts(), "launcher": os.getpid(), "preload": list(preload)}
    job["context"] = {**(job.get("context") or {}), **context}
    for folder in (Path(job["cache"]), Path(job["record"]).parent, Path(job["log"]).parent):
        folder.mkdir(parents=True, exist_ok=True)
    log = Path(job["log"]).with_suffix(".server")
    service = started(job, preload if job["isolation"] == "fork" else (), log)
    try:
        with terminable():
            return supervise(service, job, Path(job["log"]).with_suffix(".running"), lambda seconds: None)
    finally:
        service.close()


def read_job(path: Path) -> dict[str, Any]:
    """Read a job file; ``UsageError`` in one line where it is missing, not JSON, of another format or incomplete."""
    try:
        job = json.loads(path.read_text())
    except OSError as error:
        raise UsageError(f"job file {path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise UsageError(f"job file {path} is not valid JSON: {error}") from None
    if not isinstance(job, dict) or job.get("format") != 1:
        raise UsageError(f"{path} is not a job file of format 1; write one with `harness plan --jobs`")
    needed = ("step", "suite", "operation", "coordinates", "adapter", "hardware", "precision")
    missing = [key for key in needed if key not in job]
    if missing:
        raise UsageError(f"job file {path} lacks {', '.join(missing)}")
    if job.get("isolation") not in (None, *ISOLATION_MODES):
        raise UsageError(f"job file {path}: unknown isolation mode '{job['isolation']}'; known: fork, spawn")
    wrong = [key for key in ("coordinates", "hardware") if not isinstance(job[key], dict)]
    if wrong:
        raise UsageError(f"job file {path}: {' and '.join(wrong)} must be a mapping")
    return job


class _Sweep:
    """The state of one run: the server that is up, what went wrong so far, and the counts."""

    def __init__(
        self, store: Store, isolation: str, preload: tuple[str, ...], command: tuple[str, ...], listener: Listener
    ) -> None:
        self.outcome = Outcome()
        self._store = store
        self._isolation = isolation
        self._preload = preload
        self._listener = listener
        self._services: dict[str, Service] = {}
        self._unusable: dict[str, str] = {}
        self._context = {
            "installation": store.installation,
            "commit": commit_facts(),
            "command": list(command),
            "preload": list(preload),
            "launcher": os.getpid(),
        }

    def run(self, jobs: list[dict[str, Any]], *, canary: bool) -> None:
        """Every job in order, between two canaries where anything runs at all."""
        self.outcome.already = sum(job.get("state") == "done" for job in jobs)
        todo = [job for job in jobs if job.get("state") != "done"]
        runnable = [job for job in todo if job.get("state") != "skipped"]
        if canary and runnable:
            self._canary(runnable[0])
        for index, job in enumerate(todo, 1):
            self._one(job, index, len(todo))
        if canary and runnable:
            self._canary(runnable[-1])

    def close(self) -> None:
        """End the servers."""
        for service in self._services.values():
            service.close()
        self._services = {}

    def _one(self, job: dict[str, Any], index: int, total: int) -> None:
        reason = job["reason"] if job.get("state") == "skipped" else self._blocked(job)
        job = self._complete(job)
        began = time.monotonic()
        if reason is None:
            self._tell(StepStarted(job, index, total))
            record = self._execute(job)
        else:
            record = self._skip(job, reason)
        status = record["status"]
        self.outcome.statuses[status] += 1
        if status != "done":
            self._unusable[job["step"]] = f"{_name(job)} {status}: {record['reason']}"
        self._tell(StepFinished(job, index, total, status, time.monotonic() - began, record["reason"]))

    def _blocked(self, job: Mapping[str, Any]) -> str | None:
        """Why a step cannot run because a step that it needs did not end well."""
        needed = {"input": job.get("input"), "reference": job.get("reference"), **(job.get("inputs") or {})}
        for role, step in needed.items():
            if step in self._unusable:
                return f"{role} {self._unusable[step]}"
        return None

    def _complete(self, job: dict[str, Any]) -> dict[str, Any]:
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

    def _execute(self, job: dict[str, Any]) -> Record:
        job_file, log = self._store.job_paths(job["step"], job["attempt"])
        log.unlink(missing_ok=True)
        path = Path(job["record"])
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            service = self._service_for(job)
            return supervise(service, job, job_file, lambda seconds: self._tell(Tick(job, seconds)))
        except (UsageError, ServerGone) as error:  # an environment that went away ends its own steps alone
            record = blank(job, "crashed", str(error)) | {"started": utc_now(), "environment": environment_of(job)}
            self._store.write_record(record)
            return record
        except (KeyboardInterrupt, Terminated):
            self.outcome.statuses["interrupted"] += path.exists()
            raise
        finally:
            if path.exists():
                self._store.remember(path)

    def _skip(self, job: dict[str, Any], reason: str) -> Record:
        """Record a skip, unless the latest record of the step says the same already."""
        record = blank(job, "skipped", reason)
        record["environment"] = environment_of(job)
        latest = self._store.latest(job["step"], job["suite"])
        if latest is not None and (latest["status"], latest["reason"]) == ("skipped", reason):
            return latest
        self._store.write_record(record)
        return record

    def _canary(self, like: Mapping[str, Any]) -> None:
        """Measure the machine itself, with the threads of the step ``like``."""
        job = self._complete(canary_job(like["suite"], like["hardware"]))
        self.outcome.canaries.append(self._execute(job)["status"])

    def _service_for(self, job: Mapping[str, Any]) -> Service:
        """The server of the job's environment with its variables; another one is started where those differ."""
        name = environment_name(job)
        service = self._services.get(name)
        if service is not None and (service.variables != variables_of(job) or not service.alive()):
            service.close()
            service = None
        if service is None:
            log = self._store.cache / "jobs" / ("server.log" if name == MAIN else f"server-{name}.log")
            service = started(job, self._preload if self._isolation == "fork" else (), log)
            self._services[name] = service
        return service

    def _tell(self, event: Event) -> None:
        self._listener(event)


def environment_name(job: Mapping[str, Any]) -> str:
    """Name of the environment that a job runs in."""
    return str(job.get("environment") or MAIN)


def variables_of(job: Mapping[str, Any]) -> dict[str, str]:
    """Variables of a job's workers: threads and devices, and what its environment is defined with."""
    own = environments.variables(environment_name(job), threads_of(job["hardware"]))
    return thread_environment(job["hardware"]) | own


def started(job: Mapping[str, Any], preload: Sequence[str], log: Path) -> Service:
    """A new server of the job's environment; ``UsageError`` with the command that helps where that is not set up."""
    name = environment_name(job)
    held = environments.hold(name)
    python = environments.python(name)
    own = None if name == MAIN else environments.definition(name).preload
    if preload and own is not None:
        preload = own
    return Service(python, preloaded(preload, job["hardware"]), variables_of(job), log, held)


def preloaded(packages: Sequence[str], hardware: Mapping[str, Any]) -> tuple[str, ...]:
    """What a server imports: not what opens a GPU when it is imported, which no forked worker could use again."""
    opens_device = () if hardware.get("device", "cpu") == "cpu" else OPEN_A_GPU
    return tuple(name for name in packages if name not in opens_device)


def canary_job(suite: str, hardware: Mapping[str, Any]) -> dict[str, Any]:
    """The job of a canary step; its id depends on the hardware asked for and the measurement version alone."""
    identity = json.dumps(["canary", dict(hardware), MEASUREMENT_VERSION], sort_keys=True)
    names = ("method", "stage", "technique", "task", "model", "data", "precision", "seed")
    coordinates = dict.fromkeys(names) | {"hardware": str(hardware.get("device", "cpu")), "params": {}}
    return {
        "format": 1, "step": hashlib.sha256(identity.encode()).hexdigest()[:16], "suite": suite, "operation": "canary",
        "coordinates": coordinates, "adapter": None, "modifiers": [], "task": None, "model": {"kind": "none"},
        "data": None, "precision": "fp32", "hardware": dict(hardware), "seed": None, "budget": None,
        "limits": {"wall_seconds": 120, "silence_seconds": 120}, "input": None, "reference": None,
        "keeps_artefact": False, "data_file": None,
    }  # fmt: skip


def _name(job: Mapping[str, Any]) -> str:
    coordinates = job["coordinates"]
    what = coordinates.get("task") or job["operation"]
    return f"{coordinates.get('method') or job['step']} {what}"


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """Let SIGTERM end what is measured with a record, as Ctrl-C does (only the main thread may set handlers)."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(_number: int, _frame: object) -> None:
        raise Terminated("stopped by SIGTERM")

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
