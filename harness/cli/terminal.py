"""The one way out to the terminal: what is printed moves no cursor, names no window, is no command to a CI runner.

Names, reasons and lines of logs come from files that anybody may have written, so that every module here takes its
``print`` from this one (a test looks).
"""

from __future__ import annotations

import builtins
import json
import os
import sys
from typing import Any, TextIO

from harness.plain_text import clean, inert, one_line
from harness.redaction import redacted, redacted_text, values_of

LONGEST_ERROR = 2000


def print(*values: object, sep: str = " ", end: str = "\n", file: TextIO | None = None, flush: bool = False) -> None:
    """The built-in function, for text from anywhere: controls as their escapes, secrets masked, no runner's command."""
    _write(inert(_shown(sep.join(map(str, values)))), end, file, flush)


def print_json(value: Any, indent: int | None = 1) -> None:
    """A value as JSON, which reads back as it was, with secrets masked."""
    print_masked_json(json.dumps(redacted(value), indent=indent))


def print_masked(text: str) -> None:
    """Text that is made of masked parts: to look for secrets in a hundred megabytes as a whole takes minutes."""
    _write(inert(clean(text)), "", None, False)


def print_masked_json(text: str) -> None:
    """JSON that is made of masked parts."""
    _write(clean(text).replace("##[", "#\\u0023["), "\n", None, False)


def print_commands(lines: list[str]) -> None:
    """Lines that a CI runner is meant to obey, escaped by whoever made them (``harness.report.ci.annotations``)."""
    for line in lines:
        _write(_shown(line), "\n", None, False)


def print_error(error: BaseException) -> None:
    """One line on standard error."""
    print(f"harness: {one_line(error, LONGEST_ERROR)}", file=sys.stderr)


def shown(text: object) -> str:
    """Text for whoever writes to the terminal by another way (a table, a progress bar), and may wrap it anywhere."""
    return inert(_shown(str(text))).replace("::", ": :")


def _shown(text: str) -> str:
    return redacted_text(clean(text), values_of(os.environ))


def _write(text: str, end: str, file: TextIO | None, flush: bool) -> None:
    stream = sys.stdout if file is None else file
    try:
        builtins.print(text, end=end, file=stream, flush=flush)
    except UnicodeEncodeError:  # a terminal that has no such letters
        plain = text.encode(stream.encoding or "ascii", "backslashreplace").decode(stream.encoding or "ascii")
        builtins.print(plain, end=end, file=stream, flush=flush)
