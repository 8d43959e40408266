"""A time of day that jumps: ``time.time`` and ``datetime.now`` are off by what a file says at that moment.

The monotonic clock is the machine's own. ``FAULT_INJECT_CLOCK`` names the file.
"""

from __future__ import annotations

import datetime
import os
import sys
import time
from pathlib import Path

NAME = "FAULT_INJECT_CLOCK"
_time, _time_ns, _datetime = time.time, time.time_ns, datetime.datetime


def install() -> None:
    """Put the clock in place, where the environment asks for it."""
    path = os.environ.get(NAME)
    if path is None:
        return
    time.tzset()

    def offset() -> float:
        return float(Path(path).read_text())

    class Shifted(_datetime):
        """The time of day with the file's offset."""

        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> datetime.datetime:  # type: ignore[override]
            return _datetime.fromtimestamp(time.time(), tz)

    time.time = lambda: _time() + offset()
    time.time_ns = lambda: _time_ns() + int(offset() * 1e9)
    datetime.datetime = Shifted  # type: ignore[misc]
    for module in list(sys.modules.values()):
        if vars(module).get("datetime") is _datetime:
            module.datetime = Shifted  # type: ignore[attr-defined]
