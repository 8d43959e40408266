"""Where the files of a store lie: what a place can do, and the folder on this machine. Standard library alone."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from harness.errors import StoreError
from harness.plain_json import NotPlain, content_of
from harness.results.inside import check_inside
from harness.results.whole import create

_IN_THE_WAY = (errno.ENOTDIR, errno.EEXIST)


class Place(Protocol):
    """A tree of files. Paths are relative to it, with slashes; ``name`` says where it is and holds no credentials.

    Every method raises ``StoreError``, one line, where the place cannot be used.
    """

    name: str

    def check_writable(self) -> None:
        """Write and delete a probe."""

    def folders(self, path: str) -> list[str]:
        """Names of the folders in a folder, sorted, without hidden ones; none where there is no such folder."""

    def files(self, path: str) -> list[str]:
        """Names of the files in a folder, as ``folders``."""

    def read(self, paths: Sequence[str]) -> tuple[dict[str, bytes], dict[str, str]]:
        """Contents of files, and the reasons why others could not be read."""

    def create(self, files: Mapping[str, bytes]) -> list[str]:
        """Write files that are not there, each whole or not at all; return the paths of those that are, untouched."""


class Folder:
    """A folder of this machine, or mounted on it. Reading makes nothing; it appears with the first write."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.name = str(root)

    def check_writable(self) -> None:
        """Write 64 KiB, durably, and delete them."""
        with self._told("written"):
            self.root.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=self.root, prefix=".probe-") as file:
                file.write(bytes(1 << 16))
                file.flush()
                os.fsync(file.fileno())

    def folders(self, path: str) -> list[str]:
        """See ``Place``."""
        return [entry.name for entry in self._entries(path) if entry.is_dir()]

    def files(self, path: str) -> list[str]:
        """See ``Place``."""
        return [entry.name for entry in self._entries(path) if entry.is_file()]

    def read(self, paths: Sequence[str]) -> tuple[dict[str, bytes], dict[str, str]]:
        """See ``Place``."""
        contents, reasons = {}, {}
        for path in paths:
            try:
                contents[path] = content_of(self.root / path)
            except OSError as error:
                reasons[path] = f"cannot be read: {error.strerror}"
            except NotPlain as error:
                reasons[path] = f"cannot be read: {error}"
        return contents, reasons

    def create(self, files: Mapping[str, bytes]) -> list[str]:
        """See ``Place``; durable as ``write_file`` is."""
        for path in files:
            check_inside(self.root, self.root / path)
        with self._told("written"):
            return [path for path, content in files.items() if not create(self.root / path, content)]

    def _entries(self, path: str) -> list[Path]:
        with self._told("read"):
            try:
                found = sorted((self.root / path).iterdir())
            except FileNotFoundError:
                return []
            return [entry for entry in found if not entry.name.startswith(".")]

    @contextlib.contextmanager
    def _told(self, doing: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = f"{error.strerror or error}"
            if error.errno in _IN_THE_WAY:
                reason = f"{error.filename} is, or is below, a file where a folder should be"
            raise StoreError(
                f"results store {self.name} cannot be {doing}: {reason}; free space or choose another one"
            ) from None
