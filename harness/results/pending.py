"""What the latest plans still need of the cache: the inputs of their steps that have not run since they were planned.

It is told by names and times of files alone, so that it costs no reading of records. Standard library alone.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.results import plan_file
from harness.results.store import Store

# A suite whose folder changed within a day counts as being measured, by whichever launcher.
IN_PROGRESS_SECONDS = 86_400.0
_RUNNABLE = "runnable"


class Pending:
    """Inputs of steps that were planned and have not run, of all suites of this installation; nothing is read twice."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._plans: dict[Path, tuple[tuple[int, int], dict[str, tuple[str, ...]]]] = {}
        self._needed: dict[Path, tuple[tuple[int, int, int], set[str]]] = {}

    def needed(self, *, without: str | None = None) -> dict[str, str]:
        """Steps whose checkpoint or artefact is needed, with the suite that needs it; ``without`` leaves one out."""
        suites = [suite for suite in self._suites() if suite != without]
        return {step: suite for suite in reversed(suites) for step in self._of(self._store.folder(suite))}

    def needed_now(self, *, without: str | None = None) -> set[str]:
        """Those of suites that may be in the middle of a run."""
        since = time.time() - IN_PROGRESS_SECONDS
        found: set[str] = set()
        for suite in self._suites():
            folder = self._store.folder(suite)
            if suite != without and folder.is_dir() and folder.stat().st_mtime >= since:
                found |= self._of(folder)
        return found

    def _suites(self) -> list[str]:
        """None before anything was measured here: asking must not make an installation."""
        return [] if self._store.known_installation() is None else self._store.suites()

    def _of(self, folder: Path) -> set[str]:
        plan = folder / "plan.json"
        try:
            state, changed = plan.stat(), folder.stat().st_mtime_ns
        except OSError:
            return set()
        key = (state.st_mtime_ns, state.st_size, changed)
        if folder not in self._needed or self._needed[folder][0] != key:
            planned = self._planned(plan, key[:2])
            ran = _run_since(folder, state.st_mtime) if planned else set()
            needed = {step for name, needs in planned.items() if name not in ran for step in needs}
            self._needed[folder] = (key, needed)
        return self._needed[folder][1]

    def _planned(self, plan: Path, state: tuple[int, int]) -> dict[str, tuple[str, ...]]:
        """What each step that was to run needs; nothing where the plan cannot be read (nobody can go on with it)."""
        if plan not in self._plans or self._plans[plan][0] != state:
            try:
                steps = plan_file.read(plan)["steps"]
                found = {str(step["id"]): tuple(_needs(step)) for step in steps if step["state"] == _RUNNABLE}
            except (OSError, ValueError, KeyError, TypeError, AttributeError):
                found = {}
            self._plans[plan] = (state, found)
        return self._plans[plan][1]


def _needs(step: Mapping[str, Any]) -> Iterator[str]:
    for needed in (step.get("input"), step.get("reference"), *(step.get("inputs") or {}).values()):
        if needed is not None:
            yield str(needed)


def _run_since(folder: Path, moment: float) -> set[str]:
    """Steps with a record that was written after a moment."""
    with os.scandir(folder) as entries:
        return {
            entry.name.split(".")[0] for entry in entries
            if entry.name.endswith(".json") and not entry.name.startswith(".") and entry.stat().st_mtime >= moment
        }  # fmt: skip
