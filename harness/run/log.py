"""The log of one attempt: its tail for the record, and the launcher's note beside it on why it stops a worker."""

from __future__ import annotations

import os
from pathlib import Path

TAIL_LINES = 40
_TAIL_BYTES = 1 << 16
_LINE_LENGTH = 500


def tail(log: Path, lines: int = TAIL_LINES) -> list[str]:
    """The last lines of a log, each cut at 500 characters; empty where there is no log."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
            text = file.read().decode(errors="replace")
    except OSError:
        return []
    return [line[:_LINE_LENGTH] for line in text.splitlines()[-lines:]]


def stop_file(log: Path) -> Path:
    """Where the launcher says, before it sends TERM, which status and reason the worker shall record."""
    return log.with_suffix(".stop")
