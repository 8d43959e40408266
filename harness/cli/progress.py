"""The progress of a sweep: what runs now, what is done, skipped and left, and when it will end.

On a terminal a bar is redrawn at events and at most every 5 s in between (the launcher's ticks), so that nothing of
the harness computes beside a measurement; elsewhere every finished step is one line.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from harness.cli.terminal import print, shown
from harness.memory.units import in_words
from harness.run.events import CacheOver, Event, Listener, Lost, StepFinished, StepStarted, Tick, Waiting

GUESS_SECONDS = 10.0


@contextmanager
def listener(jobs: Sequence[Mapping[str, Any]], *, quiet: bool) -> Iterator[Listener]:
    """Give a listener for the launcher's events that shows them on standard error."""
    if quiet:
        yield lambda event: None
    elif sys.stderr.isatty():
        with _Bar(jobs) as bar:
            yield bar
    else:
        yield _Lines(jobs)


class _Estimate:
    """Seconds that are left, from the mean of finished steps of the same operation (a guess where there is none)."""

    def __init__(self, jobs: Sequence[Mapping[str, Any]]) -> None:
        self.left = [str(job["operation"]) for job in jobs if "state" not in job]
        self.seen: dict[str, list[float]] = {}

    def finished(self, operation: str, seconds: float) -> None:
        if operation in self.left:
            self.left.remove(operation)
        self.seen.setdefault(operation, []).append(seconds)

    def seconds(self) -> float:
        return sum(self._mean(operation) for operation in self.left)

    def _mean(self, operation: str) -> float:
        values = self.seen.get(operation)
        return sum(values) / len(values) if values else GUESS_SECONDS


class _Lines:
    """One line per finished step."""

    def __init__(self, jobs: Sequence[Mapping[str, Any]]) -> None:
        self.estimate = _Estimate(jobs)
        self.waits_for = ""

    def __call__(self, event: Event) -> None:
        if isinstance(event, Waiting):
            if event.reason != self.waits_for:
                print(f"waiting: {event.reason}", file=sys.stderr, flush=True)
            self.waits_for = event.reason
        elif isinstance(event, Lost):
            print(_lost(event), file=sys.stderr, flush=True)
        elif isinstance(event, CacheOver):
            print(_over(event), file=sys.stderr, flush=True)
        elif isinstance(event, StepFinished):
            if event.status != "skipped":
                self.estimate.finished(event.job["operation"], event.seconds)
            reason = f": {event.reason}" if event.reason else ""
            left = _clock(self.estimate.seconds())
            text = f"[{event.index}/{event.total}] {event.status:<8} {event.seconds:6.1f} s  {label(event.job)}{reason}"
            print(f"{text}  (about {left} left)", file=sys.stderr, flush=True)


class _Bar:
    """A bar on a terminal."""

    def __init__(self, jobs: Sequence[Mapping[str, Any]]) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        self.estimate = _Estimate(jobs)
        self.counts = {"done": 0, "skipped": 0, "failed": 0}
        self.began = time.monotonic()
        # The 1 Hz default of rich's own thread would compute beside the measurement, so it is off.
        self.progress = Progress(
            BarColumn(bar_width=24), MofNCompleteColumn(), TextColumn("{task.description}", markup=False),
            console=Console(stderr=True), auto_refresh=False,
        )  # fmt: skip
        self.waiting = sum(job.get("state") != "done" for job in jobs)
        self.task = self.progress.add_task("starting", total=self.waiting)

    def __enter__(self) -> _Bar:
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def __call__(self, event: Event) -> None:
        if isinstance(event, StepStarted):
            self._draw(event.job, 0.0)
        elif isinstance(event, Tick):
            self._draw(event.job, event.seconds)
        elif isinstance(event, Waiting):
            self.progress.update(self.task, description=f"waiting: {event.reason}", refresh=True)
        elif isinstance(event, Lost):
            self.progress.console.print(shown(_lost(event)), markup=False)
        elif isinstance(event, CacheOver):
            self.progress.console.print(_over(event), markup=False)
        elif isinstance(event, StepFinished):
            self._finished(event)

    def _finished(self, event: StepFinished) -> None:
        bucket = event.status if event.status in self.counts else "failed"
        self.counts[bucket] += 1
        if event.status != "skipped":
            self.estimate.finished(event.job["operation"], event.seconds)
        if bucket == "failed":
            self.progress.console.print(shown(f"{event.status}: {label(event.job)}: {event.reason}"), markup=False)
        self.progress.advance(self.task)
        self._draw(event.job, event.seconds)

    def _draw(self, job: Any, seconds: float) -> None:
        shown = {**self.counts, "left": self.waiting - sum(self.counts.values())}
        counts = ", ".join(f"{count} {name}" for name, count in shown.items() if count or name in ("done", "left"))
        times = f"{_clock(time.monotonic() - self.began)} gone, about {_clock(self.estimate.seconds())} left"
        self.progress.update(self.task, description=f"{counts} | {times} | {label(job)} {seconds:.0f} s", refresh=True)


def label(job: Any) -> str:
    """A job in a few words: what is done to which method, where."""
    coordinates = job["coordinates"]
    what = coordinates["task"] or job["operation"]
    seed = "" if coordinates["seed"] is None else f" seed {coordinates['seed']}"
    return shown(f"{what} | {coordinates['method']} @ {coordinates['model']}, {coordinates['precision']}{seed}")


def _over(event: CacheOver) -> str:
    return f"the cache is {in_words(event.bytes)} above its limit: steps to come need all of it (docs/cleaning.md)"


def _lost(event: Lost) -> str:
    return f"machine lost: {label(event.job)}: {event.reason}; it runs again"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"
