"""What a sweep tells whoever shows it. The command line turns these into a progress bar; nothing here prints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

# Not fitting in memory is a result, and a skip says why it was planned so or names the failure that caused it.
GOOD = frozenset({"done", "out_of_memory", "skipped"})


@dataclass(frozen=True)
class StepStarted:
    """A step's worker is about to start; ``index`` counts from 1 over the steps that this sweep looks at."""

    job: Mapping[str, Any]
    index: int
    total: int


@dataclass(frozen=True)
class StepFinished:
    """A step has its record; ``seconds`` are the launcher's, from before the start to after the end."""

    job: Mapping[str, Any]
    index: int
    total: int
    status: str
    seconds: float
    reason: str | None


@dataclass(frozen=True)
class Tick:
    """A step is still running; at most one every 5 s."""

    job: Mapping[str, Any]
    seconds: float


@dataclass(frozen=True)
class Waiting:
    """Nothing runs here until another launcher on the same results folder has done what it is at."""

    reason: str


@dataclass(frozen=True)
class Lost:
    """The machine of a step is gone, and the step is to run again on another one."""

    job: Mapping[str, Any]
    reason: str


@dataclass(frozen=True)
class CacheOver:
    """The cache is so many bytes above its limit, and steps to come need all that it holds; told once a sweep."""

    bytes: int


@dataclass
class Outcome:
    """How a sweep ended. ``statuses`` counts the records written; ``already`` the steps that needed no run;
    ``elsewhere`` how those ended that other launchers ran meanwhile; ``disturbed`` the steps whose times do not count,
    because something else used the machine."""

    statuses: Counter[str] = field(default_factory=Counter)
    already: int = 0
    elsewhere: Counter[str] = field(default_factory=Counter)
    disturbed: list[str] = field(default_factory=list)
    stopped: str | None = None
    canaries: list[str] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """0 good, 1 something failed, 130 stopped by Ctrl-C, 143 by SIGTERM."""
        if self.stopped is not None:
            return 143 if self.stopped == "SIGTERM" else 130
        return int(any(status not in GOOD for status in (*self.statuses, *self.elsewhere)))


@dataclass(frozen=True)
class SweepFinished:
    """Nothing is left to run."""

    outcome: Outcome


Event = StepStarted | StepFinished | Tick | Waiting | Lost | CacheOver | SweepFinished
Listener = Callable[[Event], None]
