"""The log of one attempt: its tail for the record, and the launcher's note beside it on why it stops a worker."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

from harness.redaction import redacted_text, values_of

TAIL_LINES = 40
_TAIL_BYTES = 1 << 16
_LINE_LENGTH = 500
_BLOCK = 1 << 16
LONGEST_BYTES = 4 << 20  # of a log that is kept


def tail(log: Path, lines: int = TAIL_LINES) -> list[str]:
    """The last lines of a log, secrets masked, each cut at 500 characters; empty where there is no log."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
            text = redacted_text(file.read().decode(errors="replace"), values_of(os.environ))
    except OSError:
        return []
    return [line[:_LINE_LENGTH] for line in text.splitlines()[-lines:]]


def shorten(log: Path, longest: int = LONGEST_BYTES) -> None:
    """Cut a finished step's log to its last bytes, with a first line that says so; nothing where it is short."""
    with contextlib.suppress(OSError):
        size = log.stat().st_size
        if size <= longest:
            return
        part = log.with_suffix(".cut")
        with log.open("rb") as file, part.open("wb") as kept:
            file.seek(size - longest)
            kept.write(f"[the first {size - longest} bytes of this log were cut]\n".encode())
            shutil.copyfileobj(file, kept, _BLOCK)  # block by block: the launcher does not grow with it
        part.replace(log)


def stop_file(log: Path) -> Path:
    """Where the launcher says, before it sends TERM, which status and reason the worker shall record."""
    return log.with_suffix(".stop")
