"""The one way in which files are written: there whole or not at all, nothing beside them when their writer is killed.

A file is written under one hidden name, always the same, and then renamed. Who comes next writes over what a killed
writer left there; a living one is waited for (a lock of the kernel, gone with its process). Standard library alone.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

# A pipe that lies there is not waited for, a link not followed.
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK)
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)


def put(path: Path, content: bytes, *, durable: bool = False) -> None:
    """Put ``content`` at ``path`` in place of what is there; no link is followed. ``OSError`` where that cannot be.

    ``durable``: it outlasts a loss of power from then on.
    """
    with _written(path, content, durable) as part:
        part.replace(path)
    if durable:
        sync_folder(path.parent)


def create(path: Path, content: bytes) -> bool:
    """Put ``content`` at ``path`` durably if nothing is there, however many others try; False where something is."""
    if path.exists():
        return False
    with _written(path, content, durable=True) as part:
        made = _linked(part, path)
    sync_folder(path.parent)
    return made


def sync_folder(folder: Path) -> None:
    """Make what was renamed or made in a folder outlast a loss of power."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def _written(path: Path, content: bytes, durable: bool) -> Iterator[Path]:
    """The content beside its place, ours alone until the block has moved it there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    with _held(part) as handle:
        try:
            os.ftruncate(handle, 0)
            with os.fdopen(os.dup(handle), "wb") as file:
                file.write(content)
                file.flush()
                if durable:
                    os.fsync(handle)
            yield part
        except OSError:
            with contextlib.suppress(OSError):
                part.unlink()
            raise


def _linked(part: Path, path: Path) -> bool:
    """Move the part to a place where nothing is. A rename would replace what is there since; a link does not."""
    try:
        os.link(part, path)
    except FileExistsError:
        made = False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        part.rename(path)
        return True
    else:
        made = True
    part.unlink()
    return made


@contextlib.contextmanager
def _held(part: Path) -> Iterator[int]:
    """The part, open and locked; another writer may have renamed it away while this one waited."""
    while True:
        if part.is_symlink():
            part.unlink()
        handle = os.open(part, _FLAGS, 0o666)
        try:
            _lock(handle)
            if _is_still(part, handle):
                yield handle
                return
        finally:
            os.close(handle)


def _lock(handle: int) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise


def _is_still(part: Path, handle: int) -> bool:
    """Whether ``part`` names what is open, and nothing else does: what a second name leads to is not written over."""
    opened = os.fstat(handle)
    try:
        named = part.lstat()
    except FileNotFoundError:
        return False
    if os.path.samestat(opened, named) and opened.st_nlink > 1:
        part.unlink()
        return False
    return os.path.samestat(opened, named)
