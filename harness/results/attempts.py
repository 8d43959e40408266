"""The highest attempt of each step whose records were cleaned away: a number that was given is never given again.

A record's name is found in reports, nights and stores elsewhere, and must stay the name of one thing. Standard library
alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from harness.errors import StoreError
from harness.results.record import write_file

FILE = "attempts.json"


def highest(cache: Path) -> dict[str, int]:
    """Highest removed attempt by step; none where nothing was removed; ``StoreError`` where the file is damaged."""
    path = cache / FILE
    try:
        found = json.loads(path.read_text())
        return {str(step): int(attempt) for step, attempt in found.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise StoreError(
            f"{path} is damaged ({error}); deleting it may give the name of a removed record to another one"
        ) from None


def remember(cache: Path, removed: Mapping[str, int]) -> None:
    """Note attempts that are about to be removed; before they are, so that nothing is forgotten half way."""
    before = highest(cache)
    after = before | {step: max(attempt, before.get(step, 0)) for step, attempt in removed.items()}
    if after != before:
        write_file(cache / FILE, json.dumps(after, sort_keys=True, separators=(",", ":")) + "\n")
