"""The command line: the only place that prints. Heavy packages load only where a command needs rows or a report."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and exit: 0 good, 1 a cell failed, 2 wrong use, 3 the results folder cannot be used."""
    from harness.cli.commands import app
    from harness.errors import HarnessError

    try:
        app()
    except HarnessError as error:
        print(f"harness: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # The reader of our output is gone (`harness rows --csv - | head`): not an error of ours.
        sys.stderr.close()
        sys.exit(0)
