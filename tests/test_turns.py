from __future__ import annotations

import fcntl
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from turns import Turns


class Room:
    """Who is in, as a test sees it; everybody of a run comes through a plugin of their own, as workers do."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.inside, self.order = folder, set(), []
        self.threads: dict[str, threading.Thread] = {}
        self.leaves: dict[str, threading.Event] = {}

    def comes(self, name: str, *, alone: bool = False, waits: bool = False) -> None:
        entered, self.leaves[name] = threading.Event(), threading.Event()

        def stay() -> None:
            with Turns(self.folder).turn(alone=alone):
                self.inside.add(name)
                self.order.append((name, frozenset(self.inside)))
                entered.set()
                self.leaves[name].wait(20)
                self.inside.discard(name)

        self.threads[name] = threading.Thread(target=stay, daemon=True)
        self.threads[name].start()
        entered.wait(0.5 if waits else 20)

    def goes(self, name: str) -> None:
        self.leaves[name].set()
        self.threads[name].join(20)


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Room(tmp_path)


def test_a_quiet_one_waits_for_all_and_nobody_overtakes_it(room: Room) -> None:
    for name in ("a", "b"):
        room.comes(name)
    assert room.inside == {"a", "b"}
    room.comes("quiet", alone=True, waits=True)
    room.comes("late", waits=True)
    assert room.inside == {"a", "b"}, "the quiet one waits, and the late one behind it"
    room.goes("a")
    room.goes("b")
    room.leaves["late"].set()
    room.goes("quiet")
    room.goes("late")
    assert [name for name, _ in room.order] == ["a", "b", "quiet", "late"]
    assert dict(room.order)["quiet"] == {"quiet"}


def test_who_fails_leaves_too(room: Room) -> None:
    with pytest.raises(ValueError, match="broken"), Turns(room.folder).turn(alone=True):
        raise ValueError("broken")
    room.comes("next", alone=True)
    assert room.inside == {"next"}
    room.goes("next")


def item(*, quiet: bool) -> Any:
    return SimpleNamespace(get_closest_marker=lambda name: quiet or None)


def is_free(folder: Path) -> bool:
    """Whether somebody else could be alone in the room."""
    with (folder / "room").open("a") as room:
        try:
            fcntl.flock(room, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def test_quiet_tests_that_follow_one_another_are_one_turn(tmp_path: Path) -> None:
    turns = Turns(tmp_path)
    order = [item(quiet=quiet) for quiet in (False, True, True, False, True)]
    free = []
    for this, following in zip(order, [*order[1:], None], strict=True):
        test = turns.pytest_runtest_protocol(this, following)
        next(test)
        assert not is_free(tmp_path)
        with pytest.raises(StopIteration):
            test.send(None)
        free.append(is_free(tmp_path))
    assert free == [True, False, True, True, True]


@pytest.mark.parametrize("raises", [False, True])
def test_a_turn_ends_where_the_next_quiet_test_never_comes(tmp_path: Path, raises: bool) -> None:
    turns, quiet = Turns(tmp_path), item(quiet=True)
    test = turns.pytest_runtest_protocol(quiet, quiet)
    next(test)
    with pytest.raises(KeyboardInterrupt if raises else StopIteration):
        test.throw(KeyboardInterrupt()) if raises else test.send(None)
    assert is_free(tmp_path) == raises
    turns.pytest_sessionfinish()
    assert is_free(tmp_path)
