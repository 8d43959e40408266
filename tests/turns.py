"""Tests that measure get the machine for themselves: with several workers (``-n 2``) nothing runs beside a quiet one.

Everybody passes the door; who needs quiet holds it until the room is empty and theirs, so that no stream of other tests
keeps them waiting. Quiet tests that follow one another are one turn. Two runs of one checkout share door and room.
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
        self._turn = contextlib.ExitStack()
        self._goes_on = False

    # Outside of pytest-timeout, whose clock must not run while a test waits for its turn.
    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(
        self, item: pytest.Item, nextitem: pytest.Item | None
    ) -> Generator[None, object, object]:
        if not self._goes_on:
            self._turn.enter_context(self.turn(alone=_quiet(item)))
        self._goes_on = nextitem is not None and _quiet(item) and _quiet(nextitem)
        try:
            return (yield)
        except BaseException:
            self._goes_on = False
            raise
        finally:
            if not self._goes_on:
                self._turn.close()

    def pytest_sessionfinish(self) -> None:
        """The test that was to come next may never have come."""
        self._turn.close()

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


def _quiet(item: pytest.Item) -> bool:
    return item.get_closest_marker("quiet") is not None
