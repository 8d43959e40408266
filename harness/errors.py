"""The errors that a user can meet, as one tree. A user's mistake is one line; a bug stays a traceback.

::

    HarnessError                what is wrong, where, what to do
    ├── UsageError              the request cannot be carried out as written (exit code 2)
    │   ├── SuiteError          a suite file: carries file and line
    │   ├── MethodError         a method expression: carries the text and the column
    │   ├── DataError           a data set: missing, empty, without the columns asked for
    │   └── ModelError          a model: missing, not a model folder, not loadable
    ├── StoreError              the results folder: read-only, full, written by a newer version (exit code 3)
    └── StepError               raised inside a worker, becomes the record's reason
        ├── DoesNotFit          not enough memory: a result, not a defect
        ├── NotInstalled        a package that the step needs is not here: it is skipped
        └── InvalidMeasurement  a number that must not be believed (NaN loss, spans that do not sum)
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

LONGEST_NAME = 200


class HarnessError(Exception):
    """Base of everything the harness raises on purpose; ``exit_code`` is what the command line returns."""

    exit_code = 1


class UsageError(HarnessError):
    """The request cannot be carried out as written; the message says what, where and what to do instead."""

    exit_code = 2


class SuiteError(UsageError):
    """A suite file is wrong. The message begins with ``file:line:`` where a line is known."""

    def __init__(self, message: str, *, file: str = "", line: int | None = None) -> None:
        where = f"{file}:{line}: " if file and line else f"{file}: " if file else ""
        super().__init__(f"{where}{message}")
        self.file = file
        self.line = line
        self.plain = message


class MethodError(UsageError):
    """A method expression is wrong; ``column`` counts characters from 0."""

    def __init__(self, message: str, *, text: str = "", column: int | None = None) -> None:
        where = f" (in '{text}', column {column + 1})" if text and column is not None else ""
        super().__init__(f"{message}{where}")
        self.text = text
        self.column = column


class DataError(UsageError):
    """A data set is missing, empty or lacks what was asked of it."""


class ModelError(UsageError):
    """A model is missing, is not a model folder, or cannot be loaded."""


class StoreError(HarnessError):
    """The results folder cannot be used: read-only, full, or written by a newer version."""

    exit_code = 3


class StepError(HarnessError):
    """Something that ends one step; its text becomes the record's reason."""


class BeyondContext(StepError):
    """Sequences are longer than the model's ``context``, in tokens."""

    def __init__(self, length: int, context: int) -> None:
        super().__init__(f"sequence_length {length} is longer than the model's context of {context}")
        self.context = context


class DoesNotFit(StepError):
    """Not enough memory on the device; the record's status is ``out_of_memory``."""


class NotInstalled(StepError):
    """A package that the step needs is not on this machine; the record's status is ``skipped``."""


class InvalidMeasurement(StepError):
    """A number that must not be believed; the record's status is ``invalid``."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the nearest known name, or an empty string."""
    if len(name) > LONGEST_NAME:  # no name of ours, and a comparison that would take its time
        return ""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean '{near[0]}'?" if near else ""
