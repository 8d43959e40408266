"""``nothing``: measures nothing and opens nothing, so that the time of its step is what a step costs by itself."""

from __future__ import annotations

from dataclasses import dataclass

from harness.contract import HarnessTask, Job, param


class Nothing(HarnessTask):
    """Returns at once."""

    summary = "nothing: what a step costs by itself"
    metrics = ("wall_seconds",)

    @dataclass(frozen=True)
    class Params:
        number: int = param(1, "tells steps apart that do the same", low=1)

    def score(self, scorer: object, job: Job) -> None:
        """Do nothing."""
