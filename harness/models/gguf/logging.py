"""llama.cpp's log: kept while something is done, so that a failure can say why, and silent otherwise."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator
from functools import cache
from typing import Any

_ERROR = 4


class Said:
    """Lines that llama.cpp wrote, with their levels."""

    def __init__(self) -> None:
        self.lines: list[tuple[int, str]] = []

    def last_error(self) -> str | None:
        """The last error, or None."""
        return next((text for level, text in reversed(self.lines) if level == _ERROR), None)


_said = Said()


@contextlib.contextmanager
def log_of_llama_cpp() -> Iterator[Said]:
    """Collect what llama.cpp writes within the block."""
    _listen()
    _said.lines = []
    yield _said


@cache
def _listen() -> Any:
    """Take the log over, once in a process; the callback must live as long as the library."""
    import llama_cpp

    def listen(level: int, text: bytes, _data: Any) -> None:
        line = text.decode(errors="replace").strip()
        if line and len(_said.lines) < 10_000:
            _said.lines.append((level, line))

    listener = llama_cpp.llama_log_callback(listen)
    llama_cpp.llama_log_set(listener, ctypes.c_void_p(0))
    return listener
