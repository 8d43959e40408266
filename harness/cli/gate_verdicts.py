"""What gates said, kept beside their records so that ``harness accept`` finds a series that only a gate judged."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness import plain_json
from harness.errors import StoreError
from harness.results.inventory import GATES
from harness.results.record import utc_now, write_file

if TYPE_CHECKING:
    from harness.analyse.case import Case

FILE = "verdict.json"


def keep(folder: Path, suite: str, cases: Sequence[Case]) -> None:
    """Write the verdict of the gate in ``folder``, in place of the one before."""
    told = {"suite": suite, "told": utc_now(), "cases": [case.to_dict() for case in cases]}
    write_file(folder / FILE, json.dumps(told, indent=1) + "\n")


def cases_of(results: Path, suite: str | None = None) -> list[Case]:
    """The cases of every gate whose verdict is kept, of the latest gate first; ``StoreError`` where one is damaged."""
    from harness.analyse.case import Case

    found = []
    for path in (results / GATES).glob(f"*/{FILE}"):
        try:
            told = plain_json.loads(path.read_bytes())
            if suite in (None, told["suite"]):
                found.append((str(told["told"]), [Case.from_dict(one) for one in told["cases"]]))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise StoreError(f"{path} is damaged ({error}); delete its folder, its gate can run again") from None
    return [case for _, cases in sorted(found, key=lambda each: each[0], reverse=True) for case in cases]
