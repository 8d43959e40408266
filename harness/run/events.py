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


@dataclass
class Outcome:
    """How a sweep ended. ``statuses`` counts the records written; ``already`` the steps that needed no run."""

    statuses: Counter[str] = field(default_factory=Counter)
    already: int = 0
    stopped: str | None = None
    canaries: list[str] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """0 good, 1 something failed, 130 stopped by Ctrl-C, 143 by SIGTERM."""
        if self.stopped is not None:
            return 143 if self.stopped == "SIGTERM" else 130
        return int(any(status not in GOOD for status in self.statuses))


@dataclass(frozen=True)
class SweepFinished:
    """Nothing is left to run."""

    outcome: Outcome


Event = StepStarted | StepFinished | Tick | SweepFinished
Listener = Callable[[Event], None]
