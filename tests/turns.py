"""Tests that measure get the machine for themselves: with several workers (``-n 2``) nothing runs beside a quiet one.

Everybody passes the door; who needs quiet holds it until the room is empty and theirs, so that no stream of other tests
keeps them waiting. Two runs of one checkout share both.
"""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest


class Turns:
    """A pytest plugin; ``folder`` is the same for all workers."""

    def __init__(self, folder: Path) -> None:
        self._door, self._room = folder / "door", folder / "room"

    # Outside of pytest-timeout, whose clock must not run while a test waits for its turn.
    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        with self.turn(alone=item.get_closest_marker("quiet") is not None):
            return (yield)

    @contextlib.contextmanager
    def turn(self, *, alone: bool) -> Iterator[None]:
        """Be in the room, alone or with others who do not mind."""
        with self._door.open("a") as door, self._room.open("a") as room:
            fcntl.flock(door, fcntl.LOCK_EX)
            fcntl.flock(room, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
            fcntl.flock(door, fcntl.LOCK_UN)
            try:
                yield
            finally:
                fcntl.flock(room, fcntl.LOCK_UN)  # said: a process that was forked meanwhile has the file open too

