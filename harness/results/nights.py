"""A night: what one run of a suite measured, as one small file that history is read from.

Records stay the truth. A night is made from them, holds every step's single numbers with the facts of the machine, and
names its records, so that a year of nights is read in seconds and from far away. Standard library alone.

Format history:
  1  first format
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from harness import plain_json
from harness.errors import StoreError
from harness.plain_text import is_name
from harness.redaction import redacted
from harness.results.facts import PLAN_TIME_FACTS
from harness.results.record import NewerFormat, Record
from harness.results.shape import (
    is_coordinates,
    is_machine,
    is_number,
    is_software,
    is_text,
    is_text_or_none,
    is_time,
)

FORMAT = 1
FOLDER = "nights"
_REQUIRED: dict[str, type] = {
    "night": str, "suite": str, "installation": str, "started": str, "commit": dict, "machines": dict, "software": dict,
    "steps": list,
}  # fmt: skip
_ENTRY: dict[str, type] = {
    "record": str, "step": str, "operation": str, "coordinates": dict, "status": str, "flags": list, "hard": str,
    "determined": dict, "values": dict,
}  # fmt: skip


@dataclass(frozen=True)
class Night:
    """One night as it is written. ``steps`` are entries of ``entry_of``; ``machines`` hold what was known of the
    machine when the steps were planned, by its hard id.
    """

    name: str
    suite: str
    installation: str
    started: str
    commit: Mapping[str, Any]
    machines: Mapping[str, Mapping[str, Any]]
    software: Mapping[str, Mapping[str, Any]]
    steps: tuple[Mapping[str, Any], ...]

    def to_dict(self) -> dict[str, Any]:
        """The night as its file holds it."""
        return {
            "format": FORMAT, "night": self.name, "suite": self.suite, "installation": self.installation,
            "started": self.started, "commit": dict(self.commit), "machines": dict(self.machines),
            "software": dict(self.software), "steps": [dict(step) for step in self.steps],
        }  # fmt: skip

    def to_json(self) -> str:
        """The file's text: the same records give the same bytes."""
        return json.dumps(redacted(self.to_dict()), sort_keys=True, allow_nan=False, indent=1) + "\n"


def night_of(records: Iterable[Record]) -> Night:
    """The night of records of one suite by one installation; of a step with several attempts its latest counts.

    Both canaries of a sweep are kept. ``StoreError`` where there is no record, or they are of several installations.
    """
    found = sorted(records, key=lambda record: (record["started"], record["record"]))
    if not found:
        raise StoreError("a night needs at least one record, and none was written")
    owners = sorted({str(record["environment"].get("installation")) for record in found})
    suites = sorted({record["suite"] for record in found})
    if len(owners) > 1 or len(suites) > 1:
        raise StoreError(f"records of {' and '.join(owners)} in {' and '.join(suites)} are not one night")
    # Not by time: a clock that was set back makes a later attempt look older.
    latest = {record["step"]: record for record in sorted(found, key=lambda record: record["attempt"])}
    kept = [one for one in found if one["operation"] == "canary" or latest[one["step"]] is one]
    started = found[0]["started"]
    commits = Counter(json.dumps(record["commit"], sort_keys=True) for record in kept)
    machines, software = {}, {}
    for record in kept:
        environment = record["environment"]
        if environment.get("hard_id"):
            hard = environment["hard"]
            machines[environment["hard_id"]] = {name: hard[name] for name in PLAN_TIME_FACTS if name in hard}
        soft = environment.get("soft") or {}
        if soft:
            software[soft.get("environment", "main")] = soft
    return Night(
        night_name(started, owners[0]), suites[0], owners[0], started, json.loads(commits.most_common(1)[0][0]),
        machines, software, tuple(map(entry_of, kept)),
    )  # fmt: skip


def entry_of(record: Record) -> dict[str, Any]:
    """What a night keeps of a record: its coordinates without parameters, how it ended, its single numbers, and the
    hard facts that it determined itself.
    """
    coordinates = {key: value for key, value in record["coordinates"].items() if key != "params"}
    environment = record["environment"]
    return {
        "record": record["record"], "step": record["step"], "operation": record["operation"],
        "coordinates": coordinates, "status": record["status"], "reason": record["reason"],
        "flags": list(record["flags"]), "hard": environment.get("hard_id") or "",
        "determined": {name: fact for name, fact in environment["hard"].items() if name not in PLAN_TIME_FACTS},
        "software": (environment.get("soft") or {}).get("environment", "main"),
        "values": {name: value for name, value in sorted(record["metrics"].items()) if value is not None},
    }  # fmt: skip


def night_name(started: str, installation: str) -> str:
    """``20261125T225946.123Z-2281ad897904``: sorts by time, and no two machines share one."""
    return f"{started.replace('-', '').replace(':', '')}-{installation}"


def night_path(suite: str, name: str) -> PurePosixPath:
    """Where a night lies below a results folder or store."""
    return PurePosixPath(suite) / FOLDER / f"{name}.json"


def read_night(text: str | bytes, where: str) -> Night:
    """Read a night's file; ``NewerFormat`` or ``StoreError`` name ``where`` and what is wrong with it."""
    try:
        found = plain_json.loads(text)
    except plain_json.NotPlain as error:
        raise StoreError(f"night {where} is not valid JSON ({error}); delete it, its records are whole") from None
    version = found.get("format") if isinstance(found, dict) else None
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise StoreError(f"{where} is not a night: it has no format number")
    if version > FORMAT:
        raise NewerFormat(f"night {where} has format {version}, this harness reads up to {FORMAT}; upgrade the harness")
    wrong = [name for name, kind in _REQUIRED.items() if not isinstance(found.get(name), kind)]
    if wrong:
        raise StoreError(f"night {where} lacks {', '.join(wrong)}")
    for number, entry in enumerate(found["steps"], start=1):
        if not _whole(entry) or (entry["hard"] and entry["hard"] not in found["machines"]):
            raise StoreError(f"night {where}: step {number} is not whole; delete it, its records are")
    if not all(map(is_machine, found["machines"].values())) or not all(map(is_software, found["software"].values())):
        raise StoreError(f"night {where}: its machines or software are no mappings; delete it, its records are whole")
    if not all(map(is_name, (found["suite"], found["installation"], found["night"]))) or not is_time(found["started"]):
        raise StoreError(f"night {where}: its suite, installation, start or own name is none; delete it")
    if not is_text_or_none(found["commit"].get("sha")) or not isinstance(found["commit"].get("dirty"), bool | None):
        raise StoreError(f"night {where}: its commit is none; delete it, its records are whole")
    return Night(
        found["night"], found["suite"], found["installation"], found["started"], found["commit"], found["machines"],
        found["software"], tuple(found["steps"]),
    )  # fmt: skip


def _whole(entry: Any) -> bool:
    """Whether a step's entry has everything that history looks at, each of its kind."""
    if not isinstance(entry, dict) or not all(isinstance(entry.get(name), kind) for name, kind in _ENTRY.items()):
        return False
    if not is_text_or_none(entry.get("reason")) or not all(map(is_text, entry["flags"])):
        return False
    if not is_coordinates(entry["coordinates"]) or not is_text(entry.get("software", "main")):
        return False
    return all(map(is_number, entry["values"].values()))
