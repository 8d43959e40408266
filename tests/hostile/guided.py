"""Coverage-guided fuzzing of the readers, as a program of its own: ``python guided.py READER -runs=N`` (needs atheris)."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(
    include=["harness.plan", "harness.plain_json", "harness.results", "harness.parameters"]
):
    from harness.errors import HarnessError
    from harness.plan.expression import parse
    from harness.plan.suite import load_text
    from harness.results.nights import read_night
    from harness.results.record import from_text

READERS = {
    "expression": lambda data: parse(data.decode("utf-8", "surrogateescape")),
    "suite": lambda data: load_text(data.decode("utf-8", "surrogateescape")),
    "record": lambda data: from_text(data, Path("r.json")),
    "night": lambda data: read_night(data, "n.json"),
}


def main() -> None:
    """An error that is none of ours ends the program with its input."""
    read = READERS[sys.argv.pop(1)]

    def one(data: bytes) -> None:
        with contextlib.suppress(HarnessError):
            read(data)

    atheris.Setup(sys.argv, one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
