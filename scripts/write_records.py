"""Write many small records into a results folder, as launchers and workers write them: one of several writers.

    python scripts/write_records.py RESULTS WRITER NUMBER

Their one metric says which record it is, so that whoever counts finds what was lost and what is doubled.
"""

from __future__ import annotations

import sys
from typing import Any

from harness.results.record import blank
from harness.results.store import Store

SUITE = "many"
MOST = 1_000_000  # of one writer


def small_record(writer: int, number: int, installation: str) -> dict[str, Any]:
    """The ``number``-th record of a writer."""
    job = {
        "step": f"{writer:04x}{number:012x}", "attempt": 1, "suite": SUITE, "operation": "eval",
        "coordinates": {"method": f"m{writer}", "seed": number}, "context": {"installation": installation},
    }  # fmt: skip
    return blank(job, "done") | {"metrics": {"loss": value_of(writer, number)}}


def value_of(writer: int, number: int) -> float:
    """What its metric says."""
    return float(writer * MOST + number)


def main(results: str, writer: int, number: int) -> None:
    """Write them one after another."""
    store = Store(results)
    for index in range(number):
        store.write_record(small_record(writer, index, store.installation))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
