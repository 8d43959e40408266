"""What the fault suite counts: rows that state what must hold, and how often each did."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from faults.children import LAUNCHER, Zygote


class Round:
    """One try of a fault."""

    def __init__(self) -> None:
        self.broken: list[str] = []

    def must(self, condition: object, otherwise: str) -> None:
        """Note a breach unless the condition holds."""
        if not condition:
            self.broken.append(otherwise)


@dataclass
class Tally:
    """How often a fault was tried and everything held; ``breaches`` has one line for each thing that did not.

    ``notes`` are figures worth a line in the table.
    """

    tried: int = 0
    held: int = 0
    seconds: float = 0.0
    breaches: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @contextlib.contextmanager
    def round(self, what: str) -> Iterator[Round]:
        """One try; an exception is a breach like any other, so that one bad round does not hide the rest."""
        one = Round()
        try:
            yield one
        except Exception as error:
            one.broken.append(f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")
        self.add(what, one)

    def add(self, what: str, one: Round) -> None:
        """Count one try that has been made."""
        self.tried += 1
        self.held += not one.broken
        self.breaches += [f"{what}: {text}" for text in one.broken]


class World:
    """What a row works with: a folder of its own and a zygote, started when first asked for."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.seed = seed
        self.kept: dict[str, Any] = {}  # what rows of the same kind share
        self._zygotes: dict[tuple[str, ...], Zygote] = {}
        self._count = 0

    def zygote(self, modules: tuple[str, ...] = LAUNCHER) -> Zygote:
        """The zygote with these modules."""
        if modules not in self._zygotes:
            self._zygotes[modules] = Zygote(self.new_folder(), modules)
        return self._zygotes[modules]

    def new_folder(self) -> Path:
        """An empty folder."""
        self._count += 1
        path = self.folder / f"{self._count:05d}"
        path.mkdir(mode=0o755)
        return path

    def close(self) -> None:
        """End the zygotes and remove the folder."""
        for zygote in self._zygotes.values():
            zygote.close()
        shutil.rmtree(self.folder, ignore_errors=True)


@contextlib.contextmanager
def new_world(seed: int) -> Iterator[World]:
    """A world that is gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="faults-"))
    made = World(folder, seed)
    try:
        yield made
    finally:
        made.close()


@dataclass(frozen=True)
class Row:
    """One line of the table: a fault, what must hold, and how many rounds the short and the long form take.

    ``alone``: nothing else may run beside it.
    """

    name: str
    fault: str
    must: str
    short: int
    long: int
    act: Callable[[World, int], Tally]
    alone: bool = False

    def run(self, world: World, rounds: int) -> Tally:
        """Try it so many times."""
        began = time.monotonic()
        tally = self.act(world, rounds)
        tally.seconds = time.monotonic() - began
        return tally


ROWS: dict[str, Row] = {}


def fault(
    text: str, must: str, *, short: int, long: int, alone: bool = False
) -> Callable[[Callable[[World, int], Tally]], Callable[[World, int], Tally]]:
    """Make a function a row of the table; ``must`` says what must hold."""

    def enter(act: Callable[[World, int], Tally]) -> Callable[[World, int], Tally]:
        ROWS[act.__name__] = Row(act.__name__, text, must, short, long, act, alone)
        return act

    return enter
