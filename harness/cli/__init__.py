"""The command line: the only place that prints. Heavy packages load only where a command needs rows or a report."""

from __future__ import annotations

import sys
from importlib.util import find_spec

NEEDED = ("typer", "rich", "pydantic", "yaml")
"""What the command line is made of; without it a job file is run all the same."""


def main() -> None:
    """Run the command line and exit: 0 good, 1 a cell failed, 2 wrong use, 3 the results folder cannot be used."""
    if any(find_spec(name) is None for name in NEEDED):
        from harness.cli.one_job import alone

        sys.exit(alone(sys.argv[1:]))
    try:
        from harness.cli.commands import app
        from harness.cli.terminal import print_error
        from harness.errors import HarnessError
    except KeyboardInterrupt:
        sys.exit(130)
    try:
        app()
    except HarnessError as error:
        print_error(error)
        sys.exit(error.exit_code)
    except (RecursionError, MemoryError) as error:
        # Of what a file asks for, not of ours: deeper or larger than anybody means it.
        too = "deep" if isinstance(error, RecursionError) else "large"
        print_error(HarnessError(f"what was asked for is too {too} for this machine ({type(error).__name__})"))
        sys.exit(HarnessError.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)  # while the commands were being put together; what a command itself does is its own
    except BrokenPipeError:
        # The reader of our output is gone (`harness rows --csv - | head`): not an error of ours.
        sys.stderr.close()
        sys.exit(0)
