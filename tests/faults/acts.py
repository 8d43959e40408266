"""What runs in a process of its own: a sweep of fake jobs, a command of the harness, a report. Called by the zygote."""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import resource
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from faults import processes
from faults.inject import clock, fullness
from harness.errors import HarnessError
from harness.results.store import Store
from harness.run import events, launcher, supervise
from harness.run.environment import hard_id, plan_time_facts

_CAPABILITY_VERSION = 0x20080522  # linux/capability.h
_CAP_DAC_OVERRIDE = 1
_PR_CAPBSET_DROP = 24
PRELOAD = ("json",)  # any at all: the server then imports the worker's own modules once


def sweep(
    results: str, jobs: Sequence[dict[str, Any]], told: str = "", watch: str = "", term_seconds: float | None = None,
    file_limit: int | None = None, override: bool = True, preload: Sequence[str] = PRELOAD,
) -> int:  # fmt: skip
    """Run what is left of ``jobs`` in a results folder, as the command line would; return the exit code.

    ``told`` is a file for the events; with the mark ``watch`` they say which processes live at a step's end. From the
    first step on no file can become longer than ``file_limit`` bytes. Without ``override``, root may write only where
    permissions let it.
    """
    _inject()
    if not override:
        _give_up_override()
    if term_seconds is not None:
        supervise.TERM_SECONDS = term_seconds
    store = Store(results)
    try:
        planned = [job | ({"state": "done"} if _is_done(store, job) else {}) for job in jobs]
        heard = _listener(told, watch, file_limit)
        outcome = launcher.run(planned, store, preload=tuple(preload), canary=False, on_event=heard)
    except HarnessError as error:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        print(f"harness: {error}", file=sys.stderr)
        return error.exit_code
    return outcome.exit_code


def command(arguments: Sequence[str], preload: Sequence[str] = PRELOAD, drawn: str = "") -> None:
    """Call the command line with the fakes known to it; no library is preloaded and no canary measured.

    ``drawn``: see ``_draw_once``.
    """
    from harness import catalogue
    from harness.cli import main, running

    _inject()
    catalogue.register("misbehave", "fakes.misbehave")
    catalogue.register("count", "fakes.count")
    if arguments[0] == "report":
        _draw_once(drawn)
    running.run = lambda *jobs, **how: launcher.run(*jobs, **how | {"preload": tuple(preload), "canary": False})
    sys.argv = ["harness", *arguments]
    main()


def write_report(results: str, suite: str, reports: str, drawn: str) -> None:
    """Write a report as ``harness report`` does; ``drawn``: see ``_draw_once``."""
    from harness.cli.reporting import write_report as write

    _inject()
    _draw_once(drawn)
    write(suite, Path(results), Path(reports), None)


def _draw_once(folder: str) -> None:
    """Drawing takes seconds and writes nothing: what it gave for the same question before is taken from the folder.

    Without a folder nothing is drawn, and a text stands for each picture.
    """
    from harness.report import pages, writing

    pages.javascript = _kept(pages.javascript, folder)
    writing.svg = _kept(writing.svg, folder)


def _kept(draw: Callable[..., str], folder: str) -> Callable[..., str]:
    def drawn(*asked: Any) -> str:
        name = hashlib.sha256(json.dumps(asked, sort_keys=True, default=str).encode()).hexdigest()
        path = Path(folder) / name
        if not folder:
            return name
        if not path.exists():
            path.write_text(draw(*asked), encoding="utf-8", newline="")
        return path.read_bytes().decode()

    return drawn


def _is_done(store: Store, job: dict[str, Any]) -> bool:
    return store.find_done(job["step"], hard_id(plan_time_facts(job["hardware"], "fork")), job["suite"]) is not None


def _listener(told: str, watch: str, file_limit: int | None) -> Callable[[events.Event], None]:
    file = Path(told).open("a", buffering=1) if told else None  # noqa: SIM115

    def heard(event: events.Event) -> None:
        if isinstance(event, events.StepStarted) and file_limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, resource.RLIM_INFINITY))
        if file is not None:
            file.write(json.dumps(_facts(event, watch)) + "\n")

    return heard


def _facts(event: events.Event, watch: str) -> dict[str, Any]:
    found: dict[str, Any] = {"event": type(event).__name__, "at": time.monotonic()}
    if isinstance(event, events.StepStarted | events.StepFinished):
        found["step"] = event.job["step"]
    if isinstance(event, events.StepFinished):
        servers = processes.children(os.getpid())
        found |= {"status": event.status, "reason": event.reason, "seconds": event.seconds}
        found |= {"resident": processes.resident_bytes(os.getpid()), "files": processes.open_files(os.getpid())}
        found["server_files"] = sum(map(processes.open_files, servers))
        if watch:
            found["left"] = sorted(processes.marked(watch) - set(servers))
    return found


def _inject() -> None:
    """What ``sitecustomize`` does in a process that was started, for one that was forked."""
    clock.install()
    fullness.install()


def _give_up_override() -> None:
    """Of root: the right to write where permissions forbid it, for this process and all that it starts."""
    if os.geteuid() != 0:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted and inheritable, of the lower and the upper 32
    assert libc.capget(header, sets) == 0
    for kind in range(3):
        sets[kind] &= ~(1 << _CAP_DAC_OVERRIDE)
    assert libc.prctl(_PR_CAPBSET_DROP, _CAP_DAC_OVERRIDE, 0, 0, 0) == 0
    assert libc.capset(header, sets) == 0
