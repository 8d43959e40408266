"""What is there to see after a fault: the records as bytes, and what the store makes of them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from faults.tally import Round
from harness.models.checkpoint import is_sealed
from harness.results.store import Store

SUITE = "fakes"
_RECORD = re.compile(r"[0-9a-z_-]+\.\d+\.json")


def snapshot(results: Path) -> dict[Path, bytes]:
    """Every record's bytes, by its path."""
    return {path: path.read_bytes() for path in sorted(results.glob("[!.]*/*/*.json")) if _RECORD.fullmatch(path.name)}


def records(results: Path, suite: str = SUITE) -> list[dict[str, Any]]:
    """The readable records of a suite."""
    return Store(results).records(suite).records


def must_be_intact(one: Round, before: dict[Path, bytes], results: Path, suite: str = SUITE) -> None:
    """Every record that was there is there, unchanged, and all that are there read whole."""
    now = snapshot(results)
    lost = [path.name for path in before if path not in now]
    changed = [path.name for path, content in before.items() if path in now and now[path] != content]
    one.must(not lost, f"records are lost: {lost}")
    one.must(not changed, f"records have changed: {changed}")
    found = Store(results).records(suite)
    one.must(not found.quarantined, f"records do not read: {[reason for _, reason in found.quarantined]}")
    unsealed = [
        record["step"] for record in found.records
        if record["status"] == "done" and record["operation"] == "train"
        and not is_sealed(results / ".cache", record["step"])
    ]  # fmt: skip
    one.must(not unsealed, f"done without a whole checkpoint: {unsealed}")


def done(results: Path, suite: str = SUITE) -> Counter[str]:
    """How many done records each step has."""
    return Counter(record["step"] for record in records(results, suite) if record["status"] == "done")


def must_be_complete(one: Round, results: Path, steps: Iterable[str], suite: str = SUITE) -> None:
    """Each step has exactly one done record."""
    counts = done(results, suite)
    wrong = {step: counts[step] for step in steps if counts[step] != 1}
    one.must(not wrong, f"done records that are not one: {wrong}")


def one_line(said: str) -> bool:
    """Whether a program ended with one line of its own and no traceback."""
    lines = [line for line in said.splitlines() if line.strip()]
    return len(lines) == 1 and lines[0].startswith("harness: ")


def brief(said: str) -> str:
    """The last line that a program said, which names the exception where it ended with one."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "nothing"
