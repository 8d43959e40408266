from __future__ import annotations

import threading
from pathlib import Path

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
