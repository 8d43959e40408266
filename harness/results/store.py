"""The results folder: where records, plans, checkpoints and job files lie, and what is already there.

The plan asks it what is done, the launcher writes through it, the rows read from it. Standard library alone.
"""

from __future__ import annotations

import bisect
import contextlib
import errno
import fcntl
import os
import re
import secrets
import sys
import tempfile
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from harness import plain_json
from harness.errors import StoreError
from harness.models.checkpoint import is_sealed
from harness.plain_text import is_name
from harness.results import attempts, plan_file
from harness.results.inside import check_inside
from harness.results.nights import FOLDER as NIGHTS
from harness.results.quarantine import Records, Seen, read_into
from harness.results.record import Record, read, write, write_file
from harness.results.shape import misfit_of_plan
from harness.results.whole import create

# Attempt and suite of each record of a step, in order: numbers and shared texts, for a sweep may have 100 000 of them.
Index = dict[str, list[tuple[int, str]]]
_UNUSABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)
_RECORD_NAME = re.compile(r"(?P<step>[0-9a-z_-]+)\.(?P<attempt>\d+)\.json")


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
            if not path.exists():
                create(path, f"{secrets.token_hex(6)}\n".encode())
            found = path.read_text(errors="replace").strip()
        except OSError as error:
            raise StoreError(f"results folder {self.root} cannot be used: {error.strerror}") from None
        if not is_name(found):
            raise StoreError(f"{path} holds no id of a results folder; delete it")
        return found

    def known_installation(self) -> str | None:
        """The same where it is made already; nothing is made."""
        return self.installation if (self.cache / "installation").is_file() else None

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
    def lock(self, *, alone: bool = False) -> Iterator[None]:
        """Hold the folder: with other runs (they share the steps out, harness.run.claims), or ``alone`` to take away.

        ``StoreError`` where that cannot be.
        """
        self.check_writable()
        with self.told_if_unusable(), (self.cache / "lock").open("a") as file:
            try:
                fcntl.flock(file, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
            except OSError:
                raise StoreError(f"another run is using results folder {self.root}; wait for it or stop it") from None
            yield

    @contextlib.contextmanager
    def told_if_unusable(self) -> Iterator[None]:
        """Turn a full or read-only disk, met wherever a file of the folder is written, into ``StoreError``."""
        try:
            yield
        except OSError as error:
            if error.errno not in _UNUSABLE:
                raise
            raise StoreError(
                f"results folder {self.root} cannot be written: {error.strerror}; what is done is kept: free space, "
                "then the same command goes on"
            ) from error

    def folder(self, suite: str) -> Path:
        """The folder of this installation's records of one suite; ``StoreError`` where it leads out of this one."""
        found = self.root / suite / self.installation
        check_inside(self.root, found / "record")
        return found

    def suites(self) -> list[str]:
        """Names of the suites that have a folder here."""
        return [path.name for path in _folders(self.root)]

    def installations(self, suite: str) -> list[Path]:
        """The folders of a suite that hold records, one for each installation; its nights lie beside them."""
        return [path for path in _folders(self.root / suite) if path.name != NIGHTS]

    def measured_elsewhere(self, suite: str) -> list[str]:
        """The other installations of which there are records of a suite here."""
        own = self.known_installation()
        return [
            folder.name for folder in self.installations(suite)
            if folder.name != own and any(_RECORD_NAME.fullmatch(path.name) for path in folder.iterdir())
        ]

    def records(self, suite: str) -> Records:
        """Read every record of a suite, of every installation, in a fixed order.

        A file that is not a whole record, that a newer harness wrote, or that holds what another file holds already is
        quarantined, never silently skipped.
        """
        found = Records()
        seen: Seen = {}
        for installation in self.installations(suite):
            for path in sorted(installation.iterdir()):
                if _RECORD_NAME.fullmatch(path.name):
                    read_into(found, path, seen)
        return found

    def check_readable(self, suite: str) -> None:
        """``NewerFormat`` where a newer harness wrote records of a suite: an older one must not measure beside it."""
        for path in self.records(suite).newer:
            read(path)

    def find_done(self, step: str, hard_id: str | None, suite: str | None = None) -> Record | None:
        """Return the latest ``done`` record of a step by this installation on the same hard facts, or None.

        With None for the hard facts, one of any machine will do.
        """
        for path in reversed(self._paths(step, suite)):
            with contextlib.suppress(StoreError):
                record = read(path)
                if record["status"] == "done" and hard_id in (None, record["environment"].get("hard_id")):
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
        return max([self._removed.get(step, 0), *(attempt for attempt, _ in self._index.get(step, ()))]) + 1

    def news_of(self, step: str) -> Record | None:
        """The latest record of a step that another launcher wrote since this store was first asked, or None.

        Those that it finds count from then on. A file that cannot be read counts, and is no news.
        """
        found: list[Path] = []
        while fresh := [path for path in self._attempts(step, self.next_attempt(step)) if path.exists()]:
            found += fresh
            for path in fresh:
                self.remember(path)
        for path in reversed(found):
            with contextlib.suppress(StoreError):
                return read(path)
        return None

    def _attempts(self, step: str, attempt: int) -> list[Path]:
        """Where the record of an attempt may lie: a step belongs to every suite that has it."""
        return [suite / self.installation / f"{step}.{attempt}.json" for suite in _folders(self.root)]

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
        _note(self._index, path, path.parent.parent.name)

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
        write_file(path, plan_file.text_of(plan))
        return path

    def plans(self, suite: str) -> dict[str, dict[str, Any]]:
        """The latest plan of a suite by installation; ``StoreError`` where one cannot be used."""
        plans = {}
        for folder in self.installations(suite):
            path = folder / "plan.json"
            if path.is_file():
                try:
                    found = plan_file.read(path)
                except (OSError, plain_json.NotPlain) as error:
                    raise StoreError(f"plan {path} cannot be used ({error}); run the suite again") from None
                if wrong := misfit_of_plan(found):
                    raise StoreError(f"plan {path} is damaged: '{wrong}' has another shape; run the suite again")
                plans[folder.name] = found
        return plans

    def _paths(self, step: str, suite: str | None = None) -> list[Path]:
        """Where the attempts of a step lie, of one suite or of all, the first one first."""
        known = self._index.get(step, [])
        return [self.record_path(name, step, attempt) for attempt, name in known if suite in (None, name)]

    @cached_property
    def _removed(self) -> dict[str, int]:
        return attempts.highest(self.cache)

    @cached_property
    def _index(self) -> Index:
        index: Index = {}
        if not (self.cache / "installation").is_file():
            return index
        for suite in _folders(self.root):
            folder = suite / self.installation
            for path in folder.iterdir() if folder.is_dir() else ():
                if _RECORD_NAME.fullmatch(path.name):
                    _note(index, path, suite.name)
        return index


def _folders(path: Path) -> list[Path]:
    if not path.is_dir():
        return []
    return sorted(item for item in path.iterdir() if item.is_dir() and not item.name.startswith("."))


def _note(index: Index, path: Path, suite: str) -> None:
    """Enter the record in a file of that name, once; the text of a suite is kept once for all its steps."""
    step, attempt, _ = path.name.split(".")
    known, entry = index.setdefault(step, []), (int(attempt), sys.intern(suite))
    if entry not in known:
        bisect.insort(known, entry)
