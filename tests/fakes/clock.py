"""A clock that only moves when it is told to: what is timed by it is exact, however busy the machine."""

from __future__ import annotations


class Clock:
    """Call it for the time in seconds, as one calls ``time.perf_counter``."""

    def __init__(self) -> None:
        self.at = 1000.0

    def __call__(self) -> float:
        return self.at

    def sleep(self, seconds: float) -> None:
        """Let so much time pass."""
        self.at += seconds
