"""The launcher: runs the planned steps in order, one worker at a time, and sees that each leaves a record.

It takes job mappings (docs/architecture.md) and a store, tells a listener what happens, and computes nothing beside a
measurement. Several launchers may work on one results folder: each takes the steps that no other has.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness import environments, plain_json
from harness.catalogue import load_task
from harness.contract import MEASUREMENT_VERSION
from harness.environments import MAIN
from harness.errors import UsageError
from harness.results.record import Record, blank, utc_now
from harness.results.shape import misfit_of_job
from harness.results.store import Store
from harness.run.agenda import Agenda
from harness.run.books import Books
from harness.run.claims import Claims
from harness.run.environment import ISOLATION_MODES, commit_facts, environment_of, thread_environment, threads_of
from harness.run.events import Listener, Outcome, StepStarted, SweepFinished, Tick, Waiting
from harness.run.server import OPEN_A_GPU, PRELOAD
from harness.run.service import ServerGone, Service
from harness.run.supervise import Terminated, supervise

OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
OTHERS_SECONDS = 1.0  # between two looks at what launchers of other machines have left


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
    agenda = Agenda(jobs)
    with store.lock():
        sweep = _Sweep(store, isolation, with_tasks(preload, agenda.runnable), tuple(command), on_event)
        try:
            with terminable():
                sweep.run(agenda, canary=canary)
        except KeyboardInterrupt:
            sweep.outcome.stopped = "Ctrl-C"
        except Terminated:
            sweep.outcome.stopped = "SIGTERM"
        finally:
            sweep.close()
    on_event(SweepFinished(sweep.outcome))
    return sweep.outcome


def run_job(
    path: Path,
    *,
    isolation: str | None = None,
    preload: Sequence[str] = (),
    tick: Callable[[float], None] = lambda seconds: None,
) -> Record:
    """Run one job file by itself and return its record (planning here, measuring there); ``UsageError`` if it is none.

    Paths that the job does not name lie beside the file; ``tick`` is called every few seconds while its worker runs.
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
            return supervise(service, job, running_file(job), tick)
    finally:
        service.close()


def running_file(job: Mapping[str, Any]) -> Path:
    """The complete job as its worker reads it, where it is run from a job file; there once the step has begun."""
    return Path(job["log"]).with_suffix(".running")


def read_job(path: Path) -> dict[str, Any]:
    """Read a job file; ``UsageError`` in one line where it is missing, not JSON, of another format or incomplete."""
    try:
        job = plain_json.read(path)
    except OSError as error:
        raise UsageError(f"job file {path} cannot be read: {error.strerror}") from None
    except plain_json.NotPlain as error:
        raise UsageError(f"job file {path} is not valid JSON: {error}") from None
    if not isinstance(job, dict) or job.get("format") != 1:
        raise UsageError(f"{path} is not a job file of format 1; write one with `harness plan --jobs`")
    needed = ("step", "suite", "operation", "coordinates", "adapter", "hardware", "precision")
    missing = [key for key in needed if key not in job]
    if missing:
        raise UsageError(f"job file {path} lacks {', '.join(missing)}")
    if job.get("isolation") not in (None, *ISOLATION_MODES):
        raise UsageError(f"job file {path}: unknown isolation mode '{job['isolation']}'; known: fork, spawn")
    if wrong := misfit_of_job(job):
        raise UsageError(f"job file {path}: '{wrong}' has another shape than `harness plan --jobs` gives it")
    return job


class _Sweep:
    """The state of one run: the servers that are up, and the books."""

    def __init__(
        self, store: Store, isolation: str, preload: tuple[str, ...], command: tuple[str, ...], listener: Listener
    ) -> None:
        self._store = store
        self._isolation = isolation
        self._preload = preload
        self._services: dict[str, Service] = {}
        self._claims = Claims(store.cache / "claims")
        self._books = Books(store, isolation, preload, command, listener)
        self.outcome = self._books.outcome

    def run(self, agenda: Agenda, *, canary: bool) -> None:
        """Every job in order, between two canaries where anything runs at all."""
        self.outcome.already = agenda.already
        runnable = agenda.runnable if canary else []
        if runnable:
            self._canary(runnable[0])
        while agenda:
            with self._claims.turn(lambda: self._books.tell(Waiting("another run on this machine is measuring"))):
                job = agenda.take(lambda job: self._claims.take(job["step"]))
                if job is not None:
                    self._one(job, agenda)
            if job is None:
                self._books.tell(Waiting("runs on other machines have what is left"))
                time.sleep(OTHERS_SECONDS)
        if runnable:
            self._canary(runnable[-1])

    def close(self) -> None:
        """End the servers."""
        for service in self._services.values():
            service.close()
        self._services = {}

    def _one(self, job: dict[str, Any], agenda: Agenda) -> None:
        """Run a claimed job, or take over what another launcher has made of it since this sweep was planned."""
        try:
            if not self._books.done_elsewhere(job, agenda):
                self._run_claimed(job, agenda)
        finally:
            self._claims.release(job["step"])

    def _run_claimed(self, job: dict[str, Any], agenda: Agenda) -> None:
        reason, index = agenda.reason_to_skip(job), agenda.settled + 1
        job = self._books.complete(job)
        began = time.monotonic()
        if reason is None:
            self._books.tell(StepStarted(job, index, agenda.total))
            record = self._execute(job)
        else:
            record = self._books.skip(job, reason)
        self._books.settle(job, record, agenda, index, time.monotonic() - began)

    def _execute(self, job: dict[str, Any]) -> Record:
        job_file, log = self._store.job_paths(job["step"], job["attempt"])
        log.unlink(missing_ok=True)
        path = Path(job["record"])
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            service = self._service_for(job)
            return supervise(service, job, job_file, lambda seconds: self._tick(job, seconds))
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

    def _canary(self, like: Mapping[str, Any]) -> None:
        """Measure the machine itself, with the threads of the step ``like``."""
        planned = canary_job(like["suite"], like["hardware"])
        while not self._claims.take(planned["step"]):
            time.sleep(OTHERS_SECONDS)
        try:
            with self._claims.turn():
                self._store.news_of(planned["step"])
                self.outcome.canaries.append(self._execute(self._books.complete(planned))["status"])
        finally:
            self._claims.release(planned["step"])

    def _tick(self, job: Mapping[str, Any], seconds: float) -> None:
        self._claims.touch(job["step"])
        self._books.tell(Tick(job, seconds))

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


def environment_name(job: Mapping[str, Any]) -> str:
    """Name of the environment that a job runs in."""
    return str(job.get("environment") or MAIN)


def variables_of(job: Mapping[str, Any]) -> dict[str, str]:
    """Variables of a job's workers: threads and devices, and what its environment is defined with.

    Whatever they need of the hub was fetched before: nothing of theirs asks it for anything.
    """
    own = environments.variables(environment_name(job), threads_of(job["hardware"]))
    return thread_environment(job["hardware"]) | OFFLINE | own


def started(job: Mapping[str, Any], preload: Sequence[str], log: Path) -> Service:
    """A new server of the job's environment; ``UsageError`` with the command that helps where that is not set up."""
    name = environment_name(job)
    held = environments.hold(name)
    python = environments.python(name)
    own = None if name == MAIN else environments.definition(name).preload
    if preload and own is not None:
        preload = own
    return Service(python, preloaded(preload, job["hardware"]), variables_of(job), log, held)


def with_tasks(preload: Sequence[str], jobs: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """What servers import for a sweep: ``preload``, and what the tasks of these jobs pay for once."""
    found = dict.fromkeys(preload)
    for module in dict.fromkeys(job["task"]["module"] for job in jobs if job.get("task")):
        with contextlib.suppress(UsageError):  # a task that cannot be imported fails its own steps
            found |= dict.fromkeys(load_task(module).preload if preload else ())
    return tuple(found)


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
