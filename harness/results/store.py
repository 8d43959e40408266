"""The results folder: where records, plans, checkpoints and job files lie, and what is already there.

The plan asks it what is done, the launcher writes through it, the rows read from it. Standard library alone.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import secrets
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from harness.errors import StoreError
from harness.models.checkpoint import is_sealed
from harness.results.nights import FOLDER as NIGHTS
from harness.results.record import NewerFormat, Record, read, write, write_file

_RECORD_NAME = re.compile(r"(?P<step>[0-9a-z_-]+)\.(?P<attempt>\d+)\.json")


@dataclass
class Records:
    """What was read from a results folder; ``quarantined`` names every file that could not be, and why."""

    records: list[Record] = field(default_factory=list)
    quarantined: list[tuple[Path, str]] = field(default_factory=list)


class Store:
    """One results folder. Reading makes nothing; folders appear with the first write."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)
        self.cache = self.root / ".cache"

    @cached_property
    def installation(self) -> str:
        """The random id of this results folder on this machine, made at first use (not committed)."""
        path = self.cache / "installation"
        try:
            return path.read_text().strip()
        except FileNotFoundError:
            write_file(path, secrets.token_hex(6) + "\n")
            return path.read_text().strip()
        except OSError as error:
            raise StoreError(f"results folder {self.root} cannot be used: {error.strerror}") from None

    def check_writable(self) -> None:
        """Try a real write before anything is measured; ``StoreError`` where the folder is read-only or full."""
        try:
            for folder in (self.root, self.cache / "jobs"):
                folder.mkdir(parents=True, exist_ok=True)
                with tempfile.NamedTemporaryFile(dir=folder, prefix=".probe-") as file:
                    file.write(bytes(1 << 16))
                    file.flush()
                    os.fsync(file.fileno())
        except OSError as error:
            reason = error.strerror or str(error)
            raise StoreError(
                f"results folder {self.root} cannot be written: {reason}; free space or choose another one"
            ) from None

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the folder for one sweep: two sweeps at once would measure each other; ``StoreError`` if it is held."""
        self.check_writable()
        with (self.cache / "lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise StoreError(f"another run is using results folder {self.root}; wait for it or stop it") from None
            yield

    def folder(self, suite: str) -> Path:
        """The folder of this installation's records of one suite."""
        return self.root / suite / self.installation

    def suites(self) -> list[str]:
        """Names of the suites that have a folder here."""
        return [path.name for path in _folders(self.root)]

    def installations(self, suite: str) -> list[Path]:
        """The folders of a suite that hold records, one for each installation; its nights lie beside them."""
        return [path for path in _folders(self.root / suite) if path.name != NIGHTS]

    def records(self, suite: str) -> Records:
        """Read every record of a suite, of every installation, in a fixed order.

        A file that is not a whole record is quarantined, never silently skipped; ``NewerFormat`` where one was written
        by a newer harness.
        """
        found = Records()
        for installation in self.installations(suite):
            for path in sorted(installation.iterdir()):
                if _RECORD_NAME.fullmatch(path.name):
                    _read_into(found, path)
        return found

    def find_done(self, step: str, hard_id: str, suite: str | None = None) -> Record | None:
        """Return the latest ``done`` record of a step by this installation on the same hard facts, or None."""
        for path in reversed(self._paths(step, suite)):
            with contextlib.suppress(StoreError):
                record = read(path)
                if record["status"] == "done" and record["environment"].get("hard_id") == hard_id:
                    return record
        return None

    def latest(self, step: str, suite: str | None = None) -> Record | None:
        """Return the latest readable record of a step by this installation, whatever its status, or None."""
        for path in reversed(self._paths(step, suite)):
            with contextlib.suppress(StoreError):
                return read(path)
        return None

    def next_attempt(self, step: str) -> int:
        """Return the number of a step's next attempt, from 1, counted over all suites of this installation."""
        return max((_attempt(path) for path in self._paths(step)), default=0) + 1

    def record_path(self, suite: str, step: str, attempt: int) -> Path:
        """Where the record of one attempt lies."""
        return self.folder(suite) / f"{step}.{attempt}.json"

    def write_record(self, record: Record) -> Path:
        """Write one record into its place and remember that it is there."""
        path = self.record_path(record["suite"], record["step"], record["attempt"])
        write(path, record)
        self.remember(path)
        return path

    def remember(self, path: Path) -> None:
        """Note a record that a worker wrote, without scanning the folder again."""
        paths = self._index.setdefault(_step(path), [])
        if path not in paths:
            paths.append(path)
            paths.sort(key=_attempt)

    def job_paths(self, step: str, attempt: int) -> tuple[Path, Path]:
        """Where the job file and the log of one attempt lie."""
        folder = self.cache / "jobs"
        return folder / f"{step}.{attempt}.json", folder / f"{step}.{attempt}.log"

    def has_checkpoint(self, step: str) -> bool:
        """Whether the checkpoint of a step is in the cache, whole, with every part that it refers to."""
        return is_sealed(self.cache, step)

    def has_artefact(self, step: str) -> bool:
        """Whether what other steps need of an eval step is in the cache (it is renamed into place when whole)."""
        return (self.cache / "artefacts" / step).is_dir()

    def write_plan(self, suite: str, plan: Mapping[str, Any]) -> Path:
        """Write the plan of the latest run of a suite, replacing the one before."""
        path = self.folder(suite) / "plan.json"
        write_file(path, json.dumps(plan, indent=1, sort_keys=True, allow_nan=False) + "\n")
        return path

    def plans(self, suite: str) -> dict[str, dict[str, Any]]:
        """The latest plan of a suite by installation; ``StoreError`` where one is not valid JSON."""
        plans = {}
        for folder in self.installations(suite):
            path = folder / "plan.json"
            if path.is_file():
                try:
                    found = json.loads(path.read_text(encoding="utf-8"))
                except ValueError as error:
                    raise StoreError(f"plan {path} is not valid JSON ({error}); run the suite again") from None
                if not isinstance(found, dict) or found.get("format", 1) != 1:
                    raise StoreError(f"plan {path} is not of format 1: a newer version wrote it, or it is damaged")
                plans[folder.name] = found
        return plans

    def _paths(self, step: str, suite: str | None = None) -> list[Path]:
        paths = self._index.get(step, [])
        return paths if suite is None else [path for path in paths if path.parent.parent.name == suite]

    @cached_property
    def _index(self) -> dict[str, list[Path]]:
        index: dict[str, list[Path]] = {}
        if not (self.cache / "installation").is_file():
            return index
        for suite in _folders(self.root):
            folder = suite / self.installation
            for path in folder.iterdir() if folder.is_dir() else ():
                if _RECORD_NAME.fullmatch(path.name):
                    index.setdefault(_step(path), []).append(path)
        for paths in index.values():
            paths.sort(key=_attempt)
        return index


def _read_into(found: Records, path: Path) -> None:
    try:
        found.records.append(read(path))
    except NewerFormat:
        raise
    except StoreError as error:
        found.quarantined.append((path, str(error)))


def _folders(path: Path) -> list[Path]:
    if not path.is_dir():
        return []
    return sorted(item for item in path.iterdir() if item.is_dir() and not item.name.startswith("."))


def _step(path: Path) -> str:
    return path.name.split(".")[0]


def _attempt(path: Path) -> int:
    return int(path.name.split(".")[1])
