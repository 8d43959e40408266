"""The record: the immutable file that every attempt of a step leaves, written once and only read afterwards.

Truth of the whole harness: rows, tables and pages are functions of these files. Standard library alone, because the
worker writes records in any environment.

Format history:
  1  first format (statuses, spans, optimiser steps, curve, metrics, samples, items, observed, flags, log tail)
  2  the same content, and at the very end a SHA-256 of the text before it: a flipped bit is found, not believed
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from harness import plain_json
from harness.errors import StoreError
from harness.plain_text import one_line
from harness.redaction import redacted
from harness.results.shape import misfit_of_record
from harness.results.whole import create, put

FORMAT = 2
STATUSES = ("done", "failed", "skipped", "crashed", "timeout", "out_of_memory", "interrupted", "invalid")
OPERATIONS = ("train", "compress", "eval", "canary")

Record = dict[str, Any]

# Flags of a record whose times are not its own (harness.run.contention writes them); switches alone disturb nothing:
# quiet nights have them in many steps.
DISTURBED = (
    "contention: other processes", "contention: the hypervisor", "swapping", "memory pressure", "throttling",
)  # fmt: skip

_REQUIRED: dict[str, type | tuple[type, ...]] = {
    "record": str, "step": str, "attempt": int, "suite": str, "operation": str, "coordinates": dict, "job": dict,
    "status": str, "reason": (str, type(None)), "started": str, "wall_seconds": (int, float), "environment": dict,
    "commit": dict, "command": list, "spans": list, "optimizer_steps": dict, "curve": list, "metrics": dict,
    "samples": dict, "items": dict, "observed": dict, "flags": list, "log_tail": list,
}  # fmt: skip
# The end of a file from format 2 on; what it is a digest of is the text before it.
_NAME = re.compile(r"[0-9a-z_-]+\.\d+")
_DIGEST = re.compile(rb',"digest":"([0-9a-f]{64})"}\n')
_DIGEST_LENGTH = len(',"digest":""}\n') + 64
_JOB_PATHS = ("cache", "record", "log", "data_file", "context", "state", "reason")


class NewerFormat(StoreError):
    """The file was written by a newer harness; nothing that reads it may guess."""


def disturbed(record: Mapping[str, Any]) -> bool:
    """Whether something else used the machine while a step ran, so that its times are never averaged in."""
    return any(flag.startswith(DISTURBED) for flag in record["flags"])


def utc_now(ago: float = 0.0) -> str:
    """Return the time of day, or that of ``ago`` seconds before, as ISO 8601 in UTC, to the millisecond.

    To say when, never to measure.
    """
    moment = datetime.now(UTC) - timedelta(seconds=ago)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def blank(job: Mapping[str, Any], status: str, reason: str | None = None) -> Record:
    """Return a complete record of ``job`` in which nothing was measured."""
    context = job.get("context") or {}
    return {
        "format": FORMAT,
        "record": f"{job['step']}.{job['attempt']}",
        "step": job["step"],
        "attempt": job["attempt"],
        "suite": job["suite"],
        "operation": job["operation"],
        "coordinates": dict(job["coordinates"]),
        "job": {key: _without_folders(value) for key, value in job.items() if key not in _JOB_PATHS},
        "status": status,
        "reason": reason,
        "started": utc_now(),
        "wall_seconds": 0.0,
        "environment": {"installation": context.get("installation", "unknown"), "hard_id": "", "hard": {}, "soft": {}},
        "commit": dict(context.get("commit") or {"sha": "unknown", "dirty": None}),
        "command": [_without_folders(part) for part in context.get("command") or []],
        "spans": [], "optimizer_steps": {}, "curve": [], "metrics": {}, "samples": {}, "items": {}, "observed": {},
        "flags": [], "log_tail": [],
    }  # fmt: skip


def _without_folders(value: Any) -> Any:
    """Absolute paths by their file names: where data or a model lay is the machine's own, what lay there has a hash."""
    if isinstance(value, dict):
        return {key: _without_folders(item) for key, item in value.items()}
    return Path(value).name if isinstance(value, str) and value.startswith("/") else value


def write(path: Path, record: Record) -> None:
    """Write a record so that it is there whole or not at all; ``StoreError`` if it cannot be or exists already.

    NaN and infinities become null, and make a ``done`` record ``invalid`` with the place named. Secrets are masked.
    """
    record = redacted(_without_nan(record))
    validate(record, path)
    with _told(path):
        made = create(path, to_text(record).encode())
    if not made:
        raise StoreError(f"record {path} exists already; records are never written twice")


def to_text(record: Record) -> str:
    """The text of a record's file, digest included."""
    text = json.dumps(record, allow_nan=False, separators=(",", ":"))[:-1]
    return f'{text},"digest":"{hashlib.sha256(text.encode()).hexdigest()}"}}\n'


def write_file(path: Path, text: str) -> None:
    """Write ``text`` to ``path`` atomically and durably, in place of what is there; ``StoreError`` if it cannot be."""
    with _told(path):
        put(path, text.encode("utf-8", "replace"), durable=True)


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"cannot write {path}: {error.strerror}; free space or choose another results folder"
        ) from None


def read(path: Path) -> Record:
    """Read and check one record; ``NewerFormat`` or ``StoreError`` name the file and what is wrong with it."""
    try:
        content = plain_json.content_of(path)
    except OSError as error:
        raise StoreError(f"cannot read record {path}: {error.strerror}") from None
    except plain_json.NotPlain as error:
        raise StoreError(f"cannot read record {path}: {error}") from None
    record = from_text(content, path)
    name = path.name.removesuffix(".json")
    if record["record"] != name and _NAME.fullmatch(name):
        raise StoreError(f"record {path} holds record {record['record']}: a copy under another name; delete it")
    return record


def from_text(content: bytes, path: Path) -> Record:
    """The record in a file's bytes, its digest checked and left out; the errors of ``read``."""
    sealed = _DIGEST.fullmatch(content[-_DIGEST_LENGTH:])
    if sealed and hashlib.sha256(content[:-_DIGEST_LENGTH]).hexdigest().encode() != sealed[1]:
        raise StoreError(f"record {path} is damaged: it is not what was written; delete it and run the suite again")
    try:
        record = plain_json.loads(content)
    except plain_json.NotPlain as error:
        raise StoreError(f"record {path} is not valid JSON ({error}); delete it and run the suite again") from None
    validate(record, path)
    if record["format"] > 1 and not sealed:
        raise StoreError(f"record {path} is damaged: its end is missing; delete it and run the suite again")
    record.pop("digest", None)
    return record  # type: ignore[no-any-return]


def validate(record: Any, path: Path) -> None:
    """Raise ``StoreError`` unless ``record`` is a complete record of a format that this version knows."""
    version = record.get("format") if isinstance(record, dict) else None
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise StoreError(f"{path} is not a record: it has no format number")
    if version > FORMAT:
        raise NewerFormat(
            f"record {path} has format {version}, this harness reads up to {FORMAT}; upgrade the harness to read it"
        )
    for key, kind in _REQUIRED.items():
        if not isinstance(record.get(key, ...), kind):
            what = "is missing" if key not in record else f"has the wrong type ({type(record[key]).__name__})"
            raise StoreError(f"record {path}: '{key}' {what}")
    if record["status"] not in STATUSES:
        raise StoreError(f"record {path}: unknown status '{one_line(record['status'], 60)}'")
    if record["operation"] not in OPERATIONS:
        raise StoreError(f"record {path}: unknown operation '{one_line(record['operation'], 60)}'")
    if wrong := misfit_of_record(record):
        raise StoreError(f"record {path}: '{wrong}' has another shape than the harness gives it")


def _without_nan(record: Record) -> Record:
    places = list(_nan_places(record, ""))
    if not places:
        return record
    clean: Record = _nulled(record)
    reason = f"not a number: {', '.join(places[:5])}" + (f" and {len(places) - 5} more" if len(places) > 5 else "")
    if clean["status"] == "done":
        clean |= {"status": "invalid", "reason": reason}
    clean["flags"] = [*clean["flags"], reason]
    return clean


def _nan_places(value: Any, place: str) -> Iterator[str]:
    if isinstance(value, float) and not math.isfinite(value):
        yield f"{place} is {value}"
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _nan_places(item, f"{place}.{key}" if place else str(key))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _nan_places(item, f"{place}[{index}]")


def _nulled(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _nulled(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_nulled(item) for item in value]
    return value
