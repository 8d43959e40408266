"""The shared store: nights and records of many machines below one path or URL, for history to be read from.

``<suite>/nights/<night>.json`` and ``<suite>/<installation>/<record>.json``, as a results folder has them, so that a
results folder is a store too. Files are only ever added, and a night's own file comes last: a night that is there is
whole. Where the files lie is a ``Place``; this module knows what they mean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.errors import StoreError
from harness.plain_text import is_name
from harness.results.address import place_at
from harness.results.nights import FOLDER, Night, night_name, night_path, read_night
from harness.results.record import NewerFormat


@dataclass
class Nights:
    """The nights of a suite, oldest first; ``unreadable`` says of every other file there which it is, and why."""

    nights: list[Night] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)


class SharedStore:
    """One store. Opening it touches nothing; ``url`` is how messages name it and holds no credentials.

    Every method raises ``StoreError`` where the store cannot be used: not there, not reachable, not allowed, full.
    """

    def __init__(self, url: str | Path) -> None:
        self._place = place_at(url)
        self.url = self._place.name

    def check_writable(self) -> None:
        """Try a real write, read and delete before anything is measured."""
        self._place.check_writable()

    def suites(self) -> list[str]:
        """Names of the suites that have nights here."""
        return [suite for suite in self._place.folders("") if self._names(suite)]

    def nights(self, suite: str) -> Nights:
        """Every night of a suite, sorted by when it started; none where there is no such suite.

        ``NewerFormat`` where a newer harness wrote one: history with a gap would be history of something else.
        """
        return self._read(suite, self._names(suite))

    def latest(self, suite: str, installation: str) -> Night | None:
        """The last readable night of one machine, or None; reads no other."""
        names = [name for name in self._names(suite) if name.endswith(f"-{installation}")]
        for name in sorted(names, reverse=True):
            if found := self._read(suite, [name]).nights:
                return found[0]
        return None

    def put(self, night: Night, records: Mapping[str, bytes | Path]) -> None:
        """Add a night and its records: ``records`` by their names (``<step>.<attempt>``), as bytes or the files' paths.

        Records first, then the night. What is there already is left alone; ``StoreError`` where it has other content,
        or a record that the night names is not given.
        """
        _check_names(night, records)
        folder = f"{night.suite}/{night.installation}"
        self._create({f"{folder}/{name}.json": _content(record) for name, record in records.items()})
        self._create({str(night_path(night.suite, night.name)): night.to_json().encode()})

    def _create(self, files: Mapping[str, bytes]) -> None:
        there = self._place.create(files)
        contents, _ = self._place.read(there)
        for path in there:
            if contents.get(path) != files[path]:
                raise StoreError(
                    f"results store {self.url} has other content in {path} already; nothing is overwritten there: "
                    "look at it, and move it away if it is damaged"
                )

    def _names(self, suite: str) -> list[str]:
        files = self._place.files(f"{suite}/{FOLDER}")
        return [name.removesuffix(".json") for name in files if name.endswith(".json")]

    def _read(self, suite: str, names: Sequence[str]) -> Nights:
        found = Nights()
        odd = [name for name in names if not is_name(name)]
        found.unreadable += [f"{night_path(suite, name)}: a night is not named so" for name in odd]
        paths = {str(night_path(suite, name)): name for name in names if name not in odd}
        contents, reasons = self._place.read(list(paths))
        found.unreadable += [f"{path}: {reason}" for path, reason in reasons.items()]
        for path, content in contents.items():
            try:
                found.nights.append(_night(content, path, suite, paths[path]))
            except NewerFormat:
                raise
            except StoreError as error:
                found.unreadable.append(str(error))
        found.nights.sort(key=lambda night: (night.started, night.name))
        found.unreadable.sort()
        return found


def _night(content: bytes, path: str, suite: str, name: str) -> Night:
    night = read_night(content, path)
    if (night.suite, night.name) != (suite, name):
        raise StoreError(f"{path} says that it is night {night.name} of suite '{night.suite}'; it was moved or renamed")
    return night


def _check_names(night: Night, records: Mapping[str, bytes | Path]) -> None:
    """What becomes a path must be a plain name: records come from files that anyone may have written."""
    odd = [name for name in (night.suite, night.installation, *records) if not is_name(name)]
    if odd:
        raise StoreError(f"'{odd[0]}' cannot be a file's name in a store; use letters, digits, '.', '_' and '-'")
    if night.name != night_name(night.started, night.installation):
        raise StoreError(f"night {night.name} is not named after its start {night.started} and its installation")
    missing = sorted({step["record"] for step in night.steps} - set(records))
    if missing:
        raise StoreError(f"night {night.name} names record {missing[0]}, which was not given to be stored with it")


def _content(record: bytes | Path) -> bytes:
    if isinstance(record, bytes):
        return record
    try:
        return record.read_bytes()
    except OSError as error:
        raise StoreError(f"cannot read record {record}: {error.strerror}") from None
