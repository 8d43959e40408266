"""The events that a sweep of ``faults.acts`` writes into a file, read while it runs and afterwards."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Event = dict[str, Any]


class Told:
    """The events in a file, as far as they have come."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.events: list[Event] = []
        self._read = 0

    def look(self) -> list[Event]:
        """Events since the last look."""
        try:
            text = self.path.read_bytes()[self._read :]
        except OSError:
            return []
        whole = text[: text.rfind(b"\n") + 1]
        self._read += len(whole)
        fresh = [json.loads(line) for line in whole.splitlines()]
        self.events += fresh
        return fresh

    def wait_for(self, wanted: Callable[[Event], bool], goes_on: Callable[[], bool], seconds: float) -> Event | None:
        """The next event that is wanted; None where the sweep ends or the time is over before."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            alive = goes_on()
            for event in self.look():
                if wanted(event):
                    return event
            if not alive:
                return None
            time.sleep(0.001)
        return None

    def of(self, kind: str) -> list[Event]:
        """All events of a kind."""
        self.look()
        return [event for event in self.events if event["event"] == kind]

    def started(self) -> list[str]:
        """Steps that were started."""
        return [event["step"] for event in self.of("StepStarted")]
