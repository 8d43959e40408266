"""How every planned group of cells ended: done, failed with its last line, skipped with its reason, not run yet.

A group is a cell without its seed. Nothing that was planned is left out of a report.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas

from harness.analyse.cells import GROUP
from harness.results.facts import Facts

FAILURES = ("failed", "crashed", "timeout", "out_of_memory", "interrupted", "invalid")
NOT_RUN = "not run yet"
Key = tuple[Any, ...]


@dataclass(frozen=True)
class Outcome:
    """How one group ended. ``status`` is the worst of its steps; ``reason`` one line, empty where it is done."""

    key: Key
    status: str
    reason: str = ""
    seeds: int = 1

    @property
    def failed(self) -> bool:
        """Whether some step of the group failed."""
        return self.status in FAILURES


def outcomes(
    rows: pandas.DataFrame, member: pandas.DataFrame, plan: Mapping[str, Any] | None, facts: Facts
) -> list[Outcome]:
    """Outcome of every group, in the order of the plan. ``rows`` are those of the deciding records."""
    columns = ["step", "status", "reason", "record", "operation"]
    told = rows.loc[rows["metric"] == "status", columns].astype(object)
    told = told.where(told.notna(), None)
    known: dict[str, tuple[str, str]] = {}
    scores = set[str]()
    for line in told.to_dict("records"):
        known[line["step"]] = (line["status"], _reason(line, facts))
        scores |= {line["step"]} if line["operation"] == "eval" else set()
    for step in (plan or {}).get("steps") or []:
        scores |= {step["id"]} if step.get("operation") == "eval" else set()
        if step.get("state") == "skipped":
            known.setdefault(step["id"], ("skipped", step.get("reason") or ""))
    found: dict[Key, list[str]] = {}
    seeds: dict[Key, set[Any]] = {}
    for key, step, seed in zip(_keys(member), member["step"].tolist(), member["seed"].tolist(), strict=True):
        found.setdefault(key, []).append(step)
        seeds.setdefault(key, set()).add(None if pandas.isna(seed) else int(seed))
    return [_outcome(key, steps, known, scores, len(seeds[key])) for key, steps in found.items()]


def _keys(member: pandas.DataFrame) -> list[Key]:
    return list(member[list(GROUP)].itertuples(index=False, name=None))


def _outcome(
    key: Key, steps: list[str], known: Mapping[str, tuple[str, str]], scores: set[str], seeds: int
) -> Outcome:
    """``scores``: the steps that tell something of the method; where all of its are skipped, so is the group."""
    ended = [known.get(step, (NOT_RUN, "")) for step in steps]
    told = [known.get(step, (NOT_RUN, ""))[0] for step in steps if step in scores]
    for wanted in (*FAILURES, NOT_RUN, "skipped"):
        same = [reason for status, reason in ended if status == wanted]
        if same:
            reason = next((text for text in same if text), "")
            done = sum(status == "done" for status, _ in ended)
            if done and wanted == NOT_RUN:
                reason = f"{len(same)} of {len(ended)} steps have not run"
            elif done and wanted == "skipped" and set(told) != {"skipped"}:
                return Outcome(key, "done", f"{len(same)} of {len(ended)} steps skipped: {reason}", seeds)
            return Outcome(key, wanted, reason, seeds)
    return Outcome(key, "done", "", seeds)


def _reason(line: Mapping[Any, Any], facts: Facts) -> str:
    reason = str(line["reason"] or "").strip().splitlines()
    last = facts.last_lines.get(line["record"], "")
    first = reason[0] if reason else ""
    # A traceback's last line often says the reason again, behind the exception's name.
    told = not last or last in first or first in last
    return first if first and told else f"{first}: {last}".removeprefix(": ")
