"""Files that are there whole or not at all, and leave nothing beside them when their writer is killed.

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
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)


def put(path: Path, content: bytes) -> None:
    """Put ``content`` at ``path`` in place of what is there; no link is followed. ``OSError`` where that cannot be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    with _held(part) as handle:
        try:
            os.ftruncate(handle, 0)
            with os.fdopen(os.dup(handle), "wb") as file:
                file.write(content)
            part.replace(path)
        except OSError:
            with contextlib.suppress(OSError):
                part.unlink()
            raise


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
