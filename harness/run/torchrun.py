"""torchrun that says in a file how each rank failed: ``python -m harness.run.torchrun FILE ARGUMENTS...``.

A rank that is killed tells nothing itself, and the others fail because of it or are ended by torchrun.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path


def main(file: str, *arguments: str) -> int:
    """Run the ranks; the exit status is 0 only where all of them ended with 0."""
    from torch.distributed import run
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    try:
        run.main(list(arguments))
    except ChildFailedError as error:
        codes = {rank: failure.exitcode for rank, failure in error.failures.items()}
        Path(file).write_text(json.dumps(codes))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
