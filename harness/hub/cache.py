"""Repositories in the hub's cache of this machine: which commit a revision names here, and where its files lie.

The layout is the one that ``huggingface_hub`` writes: ``refs/<revision>`` holds a commit, ``snapshots/<commit>`` its
files. Standard library alone, and nobody is asked: the plan reads it, and so does a worker, which has no network.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class Repository:
    """One repository of the hub: ``kind`` is ``model`` or ``dataset``, ``id`` its name there."""

    kind: str
    id: str

    @property
    def folder(self) -> Path:
        """Where it lies in the cache, whether or not it does."""
        return cache_folder() / f"{self.kind}s--{self.id.replace('/', '--')}"

    def commit(self, revision: str) -> str | None:
        """The commit that ``revision`` names, as it was when it was last fetched; a commit names itself."""
        if COMMIT.fullmatch(revision):
            return revision
        try:
            named = (self.folder / "refs" / revision).read_text(encoding="utf-8").strip()
        except (OSError, ValueError):
            return None
        return named if COMMIT.fullmatch(named) else None

    def snapshot(self, commit: str) -> Path:
        """The folder of a commit's files, whether or not it is there."""
        return self.folder / "snapshots" / commit

    def named(self, revision: str) -> str:
        """It in words: ``model org/name@main``."""
        return f"{'data set' if self.kind == 'dataset' else self.kind} {self.id}@{revision}"

    def remember(self, revision: str, commit: str) -> None:
        """Let ``revision`` name ``commit`` here from now on."""
        if COMMIT.fullmatch(revision):
            return
        file = self.folder / "refs" / revision
        file.parent.mkdir(parents=True, exist_ok=True)
        fresh = file.with_name(f".{file.name}.{os.getpid()}")
        fresh.write_text(commit, encoding="utf-8")
        fresh.replace(file)


def cache_folder() -> Path:
    """The hub's cache, found as ``huggingface_hub`` finds it."""
    home = _folder("HF_HOME") or (_folder("XDG_CACHE_HOME") or Path.home() / ".cache") / "huggingface"
    return _folder("HF_HUB_CACHE") or _folder("HUGGINGFACE_HUB_CACHE") or home / "hub"


def is_offline() -> bool:
    """Whether the user has said that the hub is not to be asked."""
    given = (os.environ.get(name, "").upper() for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"))
    return any(value in ("1", "ON", "YES", "TRUE") for value in given)


def label_of(folder: Path) -> str:
    """A model's folder in a few words: ``org/name@commit`` where it lies in the hub's cache, else its name."""
    found = origin_of(folder)
    return folder.name if found is None else found[: -len(folder.name)] + folder.name[:12]


def origin_of(folder: Path) -> str | None:
    """``org/name@commit`` of a folder in the hub's cache; None for another."""
    repository = folder.parent.parent.name
    if folder.parent.name != "snapshots" or "--" not in repository or not COMMIT.fullmatch(folder.name):
        return None
    return f"{repository.split('--', 1)[1].replace('--', '/')}@{folder.name}"


def _folder(variable: str) -> Path | None:
    value = os.environ.get(variable)
    return Path(os.path.expandvars(value)).expanduser() if value else None
