"""Engines: what runs steps on other machines than this one, each an existing scheduler behind a few methods.

An engine knows nothing of suites, records or claims: it is handed complete jobs (docs/architecture.md), each of which
runs ``harness.run.node.carry_out`` on a machine that nothing else measures on, and tells which have ended.
"""

from __future__ import annotations

import dataclasses
import importlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from harness.errors import StoreError, UsageError, did_you_mean
from harness.parameters import build_params
from harness.plan.machine import Machine
from harness.run.node import EXIT_ELSEWHERE, EXIT_STOPPED, EXIT_STORE, Told

NAMES = ("local", "ray", "slurm")
# Over a step's own limit: its server's start, its end, and another launcher's step on the machine that is waited for.
SPARE_MINUTES = 10


@dataclass(frozen=True)
class Demand:
    """What a job asks of a machine; ``cpus`` 0 is all of them, ``minutes`` None is no limit."""

    cpus: int
    gpus: int
    minutes: int | None

    @property
    def text(self) -> str:
        """In words."""
        return f"{self.cpus or 'any'} CPUs and {self.gpus} GPUs"


@dataclass(frozen=True)
class Ended:
    """A step that its engine is done with; it has left its record where nothing else is said.

    ``lost``: the machine or the process that had it is gone, and why. ``failed``: why it left no record otherwise.
    ``elsewhere``: another process carries it out, for a launcher that is gone; its record is still to come.
    """

    step: str
    lost: str | None = None
    failed: str | None = None
    elsewhere: bool = False


class Engine(Protocol):
    """A scheduler that the harness is connected to."""

    name: str

    def machine(self) -> Machine:
        """The most that one of its machines offers, for the plan."""

    def check(self, cache: Path) -> None:
        """``UsageError`` in one line where its machines cannot run steps or do not see the folder ``cache``."""

    def lacks(self, demand: Demand) -> str | None:
        """Why none of its machines can ever run such a job, or None."""

    def room(self, demand: Demand) -> int:
        """How many such jobs it takes at a time, running and waiting; at least 1."""

    def start(self, jobs: Sequence[tuple[Mapping[str, Any], Path]]) -> None:
        """Take complete jobs, each with the file that it lies in; none of them is ever run twice."""

    def wait(self, seconds: float) -> list[Ended]:
        """Block until a job has ended, for at most so long; ``UsageError`` where a machine does not see its file."""

    def cancel(self) -> None:
        """End every job: those that run write their records first. ``wait`` still tells of each."""

    def close(self) -> None:
        """Let go of the scheduler."""


def connect(name: str, texts: Sequence[str]) -> Engine | None:
    """The engine of a name with options as ``KEY=VALUE``; None for the local launcher. ``UsageError`` else."""
    if name not in NAMES:
        raise UsageError(f"unknown launcher '{name}'{did_you_mean(name, NAMES)}; known: {', '.join(NAMES)}")
    if name == "local":
        if texts:
            raise UsageError("the local launcher has no options; --launcher-option is for ray and slurm")
        return None
    module = importlib.import_module(f"harness.run.engines.{name}")
    engine: Engine = module.connect(options_of(module.Options, texts, f"--launcher {name}"))
    return engine


def options_of(kind: type, texts: Sequence[str], owner: str) -> Any:
    """The options that ``KEY=VALUE`` texts give; ``UsageError`` for an unknown key or a value of the wrong type."""
    hints = {item.name: str(item.type) for item in dataclasses.fields(kind)}
    given: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"--launcher-option '{text}' must be KEY=VALUE, as in {next(iter(hints))}=...")
        given[key] = _value(hints.get(key, ""), value)
    return build_params(kind, given, owner=owner)


def _value(hint: str, text: str) -> Any:
    if "int" in hint and text.lstrip("-").isdigit():
        return int(text)
    if "bool" in hint and text in ("true", "false"):
        return text == "true"
    return text


def demand_of(job: Mapping[str, Any]) -> Demand:
    """What the job's hardware and limits ask for."""
    hardware, limits = job["hardware"], job.get("limits") or {}
    ranks = int(hardware.get("ranks") or 1)
    threads = int(hardware.get("threads") or 0)
    gpus = 0 if hardware.get("device", "cpu") == "cpu" else int(hardware.get("devices") or 1)
    wall = limits.get("wall_seconds")
    minutes = None if wall is None else math.ceil(float(wall) / 60) + SPARE_MINUTES
    return Demand(max(threads, ranks) if threads else 0, gpus, minutes)


def ended(step: str, told: Told) -> Ended:
    """What a machine told of a step's process; ``UsageError`` where it is blind, ``StoreError`` for a full disk."""
    if told.get("blind"):
        raise UsageError(
            "a machine of the engine does not see the results folder; give --results a folder that every machine "
            "has under the same path"
        )
    if told["code"] == EXIT_STORE:
        raise StoreError(told["said"])
    if told["code"] == 0:
        return Ended(step)
    if told["code"] == EXIT_ELSEWHERE:
        return Ended(step, elsewhere=True)
    if told["code"] == EXIT_STOPPED:
        return Ended(step, lost="the step was told to end from outside (SIGTERM)")
    how = f"exit status {told['code']}" if told["code"] > 0 else f"signal {-told['code']}"
    return Ended(step, failed=f"the step's launcher ended with {how}: {told['said']}".rstrip(": "))
