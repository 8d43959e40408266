"""What of a sweep may run next: the planned jobs in order, what each needs, and how those that ended did end.

The local launcher and the engines of many machines both work one off. Nothing here runs anything or touches a file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

Job = dict[str, Any]


class Agenda:
    """The jobs of a sweep that are not done, by step; a job is ready when every job that it needs has ended."""

    def __init__(self, jobs: Iterable[Mapping[str, Any]]) -> None:
        planned = [dict(job) for job in jobs]
        self.already = sum(job.get("state") == "done" for job in planned)
        self._waiting: dict[str, Job] = {job["step"]: job for job in planned if job.get("state") != "done"}
        self._running: dict[str, Job] = {}
        self._unusable: dict[str, str] = {}
        self.total = len(self._waiting)

    def __bool__(self) -> bool:
        """Whether anything is left to begin."""
        return bool(self._waiting)

    @property
    def runnable(self) -> list[Job]:
        """What is left and was not planned as skipped, in order."""
        return [job for job in self._waiting.values() if job.get("state") != "skipped"]

    @property
    def settled(self) -> int:
        """How many of the jobs have ended."""
        return self.total - len(self._waiting) - len(self._running)

    def take(self, free: Callable[[Job], bool] = lambda job: True) -> Job | None:
        """The first job that is ready and that ``free`` lets through, now running; None where there is none."""
        for job in self._waiting.values():
            if not self._open_needs(job) and free(job):
                self._running[job["step"]] = self._waiting.pop(job["step"])
                return job
        return None

    def reason_to_skip(self, job: Mapping[str, Any]) -> str | None:
        """Why a job is not to be run: it was planned so, or a step that it needs did not end well; None to run it."""
        if job.get("state") == "skipped":
            return str(job["reason"])
        for role, step in needs(job).items():
            if step in self._unusable:
                return f"{role} {self._unusable[step]}"
        return None

    def settle(self, job: Mapping[str, Any], status: str, reason: str | None) -> None:
        """A running job has ended."""
        self._running.pop(job["step"], None)
        if status != "done":
            self._unusable[job["step"]] = f"{_name(job)} {status}: {reason}"

    def give_back(self, job: Mapping[str, Any]) -> None:
        """A running job has not ended and is to run again, before the others: the machine that had it is gone."""
        self._running.pop(job["step"], None)
        self._waiting = {job["step"]: dict(job), **self._waiting}

    def needed(self) -> set[str]:
        """The steps whose checkpoints or artefacts what runs or waits will open."""
        return {step for job in (*self._running.values(), *self._waiting.values()) for step in needs(job).values()}

    def _open_needs(self, job: Mapping[str, Any]) -> bool:
        return any(step in self._waiting or step in self._running for step in needs(job).values())


def needs(job: Mapping[str, Any]) -> dict[str, str]:
    """The steps whose checkpoint or artefact a job opens, by what they are to it (input, reference, a parameter)."""
    wanted = {"input": job.get("input"), "reference": job.get("reference"), **(job.get("inputs") or {})}
    return {role: str(step) for role, step in wanted.items() if step is not None}


def _name(job: Mapping[str, Any]) -> str:
    coordinates = job["coordinates"]
    what = coordinates.get("task") or job["operation"]
    return f"{coordinates.get('method') or job['step']} {what}"
