"""The border between files that anybody may have written and what is computed of them.

Shapes are checked where files are read, so that what comes after computes on numbers and texts. That numbers make sense
together nobody can check beforehand: a share above one, a model of no parameters. Where an analysis stumbles over such
records, whoever typed the command gets one line, with the place in our code for whoever mends it.
"""

from __future__ import annotations

import functools
import os
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar

from harness.errors import HarnessError, UsageError
from harness.plain_text import one_line

SHOW = "HARNESS_TRACEBACK"  # set: the whole traceback instead
# What odd numbers and texts make of code that is right for others; anything else is a bug and stays a traceback.
_STUMBLES = (ArithmeticError, LookupError, TypeError, ValueError, AttributeError, AssertionError, OSError)
_P = ParamSpec("_P")
_R = TypeVar("_R")


def over_files(what: str) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """A command that reads results of anybody: what stumbles over them is a ``UsageError`` that names ``what``."""

    def decorated(command: Callable[_P, _R]) -> Callable[_P, _R]:
        @functools.wraps(command)
        def guarded(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            try:
                return command(*args, **kwargs)
            except (HarnessError, BrokenPipeError):
                raise
            except _STUMBLES as error:
                if os.environ.get(SHOW):
                    raise
                raise UsageError(told(what, error)) from error

        return guarded

    return decorated


def told(what: str, error: Exception) -> str:
    """The line: what could not be made, by which error, where."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if f"{os.sep}harness{os.sep}" in frame.filename] or frames
    where = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}"
    said = one_line(error, 200)
    return (
        f"{what} stumbles over these files ({type(error).__name__}{f': {said}' if said else ''}; {where}): one of them "
        f"says what no measurement gives, or the harness is wrong ({SHOW}=1 shows where)"
    )
