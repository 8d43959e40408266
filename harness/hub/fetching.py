"""Bring what is needed from the hub into its cache: resumed where it was cut off, and every byte checked.

The hub's client compares sizes alone. What has arrived is hashed here and compared with what the hub lists: SHA-256 of
large files, git's SHA-1 of small ones. A revision names the new commit only when all of that is done,
so that an interrupted fetch leaves everything as it was.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from harness.errors import ModelError, UsageError
from harness.hub.cache import COMMIT, Repository
from harness.hub.downloading import SECONDS, download, metadata_of
from harness.hub.failures import told
from harness.hub.weights import CONFIGURATION, TOKENIZER_FILES, beside_weights, shards_of, weights_of
from harness.plain_text import one_line

_BLOCK = 1 << 20


class Watcher(Protocol):
    """Is told how a fetch goes on."""

    def begin(self, what: str, files: int, size: int) -> None:
        """So many more files and bytes belong to ``what``."""

    def bytes(self, count: int) -> None:
        """So many bytes have arrived, or were here already."""

    def file(self, what: str, name: str, size: int) -> None:
        """A file is here and was checked."""


class Silent:
    """A watcher that says nothing."""

    def begin(self, what: str, files: int, size: int) -> None:
        """Nothing."""

    def bytes(self, count: int) -> None:
        """Nothing."""

    def file(self, what: str, name: str, size: int) -> None:
        """Nothing."""


@dataclass(frozen=True)
class Listed:
    """A file as the hub lists it. ``sha256`` is that of a large file, ``blob`` git's id of another; None: not told."""

    size: int
    sha256: str | None
    blob: str | None


@dataclass(frozen=True)
class Fetch:
    """A commit of a repository that is being fetched: its files as the hub lists them."""

    repository: Repository
    revision: str
    commit: str
    files: Mapping[str, Listed]
    watcher: Watcher
    error: type[UsageError]

    @property
    def what(self) -> str:
        """The repository in words."""
        return self.repository.named(self.revision)

    def get(self, names: Iterable[str]) -> list[Path]:
        """The files with these names, fetched where they are not here yet, and checked."""
        wanted = list(names)
        for name in wanted:
            if name not in self.files:
                raise self.error(f"{self.what} has no file '{one_line(name, 100)}'")
        self.watcher.begin(self.what, len(wanted), sum(self.files[name].size for name in wanted))
        return [self._file(name) for name in wanted]

    def check_readable(self) -> None:
        """Raise where files may not be read: of a gated repository the hub lists them to anybody."""
        for name in list(self.files)[:1]:
            with told(self.repository, self.revision, self.error):
                metadata_of(self.repository, self.commit, name)

    def _file(self, name: str) -> Path:
        with told(self.repository, self.revision, self.error):
            came = 0

            def more(count: int) -> None:
                nonlocal came
                came += count
                self.watcher.bytes(count)

            path = download(self.repository, self.commit, name, more)
            self.watcher.bytes(self.files[name].size - came)
            self._check(path, name)
        self.watcher.file(self.what, name, self.files[name].size)
        return path

    def _check(self, path: Path, name: str) -> None:
        """Compare what arrived with what the hub lists; what differs is removed, lest it be taken for good later."""
        listed = self.files[name]
        kind, expected = ("SHA-256", listed.sha256) if listed.sha256 else ("git SHA-1", listed.blob)
        if expected is None:
            return
        found = _digest(path, git=listed.sha256 is None)
        if found == expected:
            return
        blob = path.resolve()
        path.unlink()
        blob.unlink(missing_ok=True)
        raise self.error(
            f"{self.what}: what arrived as '{one_line(name, 100)}' has the {kind} {found}, the hub lists {expected}; "
            "it was removed: fetch it again, and if that does not help, it is changed on the way or wrong at the hub"
        )


def begin(repository: Repository, revision: str, watcher: Watcher, error: type[UsageError]) -> Fetch:
    """Ask the hub which commit ``revision`` names and which files it has; ``error`` in one line where it says none."""
    with told(repository, revision, error):
        from huggingface_hub import HfApi

        found: Any = HfApi().repo_info(
            repository.id, repo_type=repository.kind, revision=revision, files_metadata=True, timeout=SECONDS
        )
    if not COMMIT.fullmatch(str(found.sha)):  # it becomes a folder's name
        raise error(f"{repository.named(revision)}: the hub says no commit but '{one_line(found.sha, 60)}'")
    files = {one.rfilename: _listed(one) for one in found.siblings or ()}
    return Fetch(repository, revision, found.sha, files, watcher, error)


def fetch_model(name: str, revision: str, watcher: Watcher) -> Fetch:
    """Bring a model into the hub's cache; ``ModelError`` in one line where it cannot be had or is none."""
    fetch = begin(Repository("model", name), revision, watcher, ModelError)
    names = set(fetch.files)
    if CONFIGURATION not in names and not names.intersection(TOKENIZER_FILES):
        raise ModelError(f"{fetch.what} is no model of transformers: it has neither {CONFIGURATION} nor a tokenizer")
    here: set[str] = set()
    weights = _weights(fetch, names, here)
    if CONFIGURATION in names and not weights:
        raise ModelError(f"{fetch.what} has no weights that are read (model.safetensors, pytorch_model.bin, or shards)")
    fetch.get([name for name in (*weights, *beside_weights(names)) if name not in here])
    fetch.repository.remember(revision, fetch.commit)
    return fetch


def _weights(fetch: Fetch, names: set[str], here: set[str]) -> list[str]:
    """The weight files that are read; an index is fetched for that, and is ``here`` afterwards."""

    def shards(index: str) -> set[str]:
        found = shards_of(fetch.get([index])[0])
        here.add(index)
        return found

    try:
        return weights_of(names, shards)
    except ModelError as error:
        raise ModelError(str(error) if fetch.what in str(error) else f"{fetch.what}: {error}") from None


def _listed(one: Any) -> Listed:
    sha256 = one.lfs.sha256 if one.lfs is not None else None
    return Listed(int(one.size or 0), sha256, None if sha256 else one.blob_id)


def _digest(path: Path, *, git: bool) -> str:
    """SHA-256 of a file, or git's id of it."""
    digest = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False) if git else hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
