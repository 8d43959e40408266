"""Two states of the harness's own repository side by side: git work trees that are gone when they were used.

Nothing of the user's own checkout is touched; a ref ``.`` is the working tree as it is.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.errors import UsageError, did_you_mean

HERE = "."


@dataclass(frozen=True)
class State:
    """A state of the repository: the ref as it was written, its commit, and a digest of what is not committed."""

    ref: str
    sha: str
    changes: str = ""

    @property
    def name(self) -> str:
        """``1a2b3c4d``, with the digest of uncommitted changes behind it."""
        return self.sha[:8] + (f"+{self.changes[:6]}" if self.changes else "")


def repository() -> Path:
    """The root of the checkout that this harness runs from; ``UsageError`` where it is none, or there is no git."""
    root = Path(__file__).resolve().parents[2]
    if shutil.which("git") is None:
        raise UsageError("a gate needs git, which is not installed")
    if not (root / ".git").exists():
        raise UsageError("a gate needs the harness's own git checkout, and this installation is none")
    return root


def state_of(root: Path, ref: str) -> State:
    """What a ref means; ``UsageError`` with the nearest branch or tag where it means nothing."""
    if ref == HERE:
        return State(ref, _git(root, "rev-parse", "HEAD"), _changes(root))
    found = _try(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
    if found is None:
        known = (_try(root, "for-each-ref", "--format=%(refname:short)") or "").split()
        raise UsageError(f"unknown git ref '{ref}'{did_you_mean(ref, known)}")
    return State(ref, found)


def content_of(root: Path, state: State, file: str) -> str | None:
    """The text of a file, relative to the root, in a state; None where it is not there."""
    if state.ref == HERE:
        path = root / file
        return path.read_text(encoding="utf-8") if path.is_file() else None
    return _try(root, "show", f"{state.sha}:{file}", stripped=False)


def names_of(root: Path, state: State, folder: str) -> list[str]:
    """Names of the files in a folder of a state."""
    if state.ref == HERE:
        return sorted(path.name for path in (root / folder).glob("*"))
    return sorted((_try(root, "ls-tree", "--name-only", f"{state.sha}:{folder}") or "").splitlines())


@contextlib.contextmanager
def checked_out(root: Path, states: Mapping[str, State]) -> Iterator[dict[str, Path]]:
    """A folder for each state, under its name here; work trees are removed however it ends.

    Names of equal length keep the paths, and so the processes' environments, of equal size.
    """
    _try(root, "worktree", "prune")
    parent = Path(tempfile.mkdtemp(prefix="harness-gate-"))
    try:
        folders = {}
        for name, state in states.items():
            folders[name] = root if state.ref == HERE else parent / name
            if state.ref != HERE:
                _git(root, "worktree", "add", "--quiet", "--detach", str(folders[name]), state.sha)
        yield folders
    finally:
        shutil.rmtree(parent, ignore_errors=True)
        _try(root, "worktree", "prune")


def _changes(root: Path) -> str:
    """A digest of what is not committed of the code; empty where everything is."""
    rest = ("--", ".", ":(exclude)results", ":(exclude)reports")
    told = hashlib.sha256(_raw(root, "diff", "HEAD", "--binary", *rest))
    new = sorted(filter(None, _raw(root, "ls-files", "--others", "--exclude-standard", "-z", *rest).split(b"\0")))
    for name in new:
        told.update(name)
        told.update(_content(root / os.fsdecode(name)))
    return told.hexdigest() if new or _git(root, "status", "--porcelain", *rest) else ""


def _content(path: Path) -> bytes:
    """What a new file holds: a link where it leads to, another repository nothing; ``UsageError`` if unreadable."""
    try:
        if path.is_symlink():
            return os.fsencode(path.readlink())
        return path.read_bytes() if path.is_file() else b""
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None


def _raw(root: Path, *arguments: str) -> bytes:
    """What git says, byte by byte: names and texts in any encoding."""
    done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, check=False)
    if done.returncode != 0:
        raise UsageError(f"git {arguments[0]} failed in the harness's checkout")
    return done.stdout


def _git(root: Path, *arguments: str) -> str:
    done = _run(root, arguments)
    if done.returncode != 0:
        said = re.sub(r"\s+", " ", done.stderr).strip()
        raise UsageError(f"git {arguments[0]} failed in the harness's checkout: {said or 'no reason given'}")
    return done.stdout.strip()


def _try(root: Path, *arguments: str, stripped: bool = True) -> str | None:
    done = _run(root, arguments)
    if done.returncode != 0:
        return None
    return done.stdout.strip() if stripped else done.stdout


def _run(root: Path, arguments: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
