"""Runs the same suite of two sides in pairs, in random order, and remembers which runs are whole.

Each side has a results folder of its own; ``pairs.json`` beside them says which records each run left, so that a gate
that was stopped goes on with the pairs that it lacks. No run is only for warming up: the data are prepared and the code
is compiled before anything is measured, and what is left of a cold start falls on either side by chance.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.errors import HarnessError, StoreError, UsageError
from harness.results.record import Record, read, write_file
from harness.results.store import Store

SIDES = ("base", "head")
FORMAT = 1
STOPPED = (130, 143)
Tell = Callable[[int, str], None]


class SideError(HarnessError):
    """A side's program failed by its own fault, which is no regression of what it measures."""

    exit_code = 3


@dataclass(frozen=True)
class Side:
    """How one side is run: its interpreter, started in ``folder``, and its suite file.

    With ``checkout`` the folder is one and its harness runs, else the one that the interpreter has installed. ``code``
    is the harness's package, ``sha`` the commit that its records must name, ``plugins`` what ``--plugin`` gives it.
    """

    name: str
    folder: Path
    python: str
    suite_file: Path
    results: Path
    sha: str
    code: Path
    checkout: bool = True
    plugins: tuple[str, ...] = ()

    @property
    def log(self) -> Path:
        """What its last command said on standard error."""
        return self.results.parent / f"{self.name}.log"

    @property
    def output(self) -> Path:
        """What its last command gave on standard output."""
        return self.results.parent / f"{self.name}.out"

    def command(self, *arguments: str) -> subprocess.Popen[str]:
        """Start ``harness ARGUMENTS`` of this side, what it says in files."""
        plugins = [word for plugin in self.plugins for word in ("--plugin", plugin)]
        try:
            self.log.parent.mkdir(parents=True, exist_ok=True)
            with self.output.open("w") as output, self.log.open("w") as log:
                return subprocess.Popen(
                    [self.python, "-m", "harness", *plugins, *arguments], cwd=self.folder, stdin=subprocess.DEVNULL,
                    stdout=output, stderr=log, text=True, start_new_session=True,
                    env=variables_of(self.folder if self.checkout else None),
                )  # fmt: skip
        except OSError as error:
            raise UsageError(f"{self.name}: {self.python} cannot be started: {error.strerror}") from None


@dataclass
class Ledger:
    """Which pairs are whole: the names of the records of both sides by the pair's number.

    A finished one is read no more: whoever asks again wants new numbers. It is kept as ``pairs.before.json``.
    """

    path: Path
    about: Mapping[str, Any]
    pairs: dict[int, dict[str, list[str]]] = field(default_factory=dict)

    @classmethod
    def open(cls, path: Path, about: Mapping[str, Any]) -> Ledger:
        """The ledger as it was left; ``StoreError`` where it is damaged, of another gate or of a newer version."""
        if not path.exists():
            return cls(path, about)
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            version, told = found["format"], found["about"]
            pairs = {int(number): pair for number, pair in found["pairs"].items()}
            finished = bool(found.get("finished"))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise StoreError(f"{path} is damaged ({error}); delete its folder to measure anew") from None
        if version != FORMAT or told != json.loads(json.dumps(about)):
            raise StoreError(f"{path} is of another gate; give --results DIR with another folder, or delete it")
        if finished:
            path.replace(path.with_suffix(".before.json"))
            return cls(path, about)
        return cls(path, about, pairs)

    def keep(self, number: int, records: Mapping[str, list[str]]) -> None:
        """A pair is whole."""
        self.pairs[number] = dict(records)
        self._write(finished=False)

    def finish(self) -> None:
        """The gate has told its verdict."""
        self._write(finished=True)

    def _write(self, *, finished: bool) -> None:
        told = {"format": FORMAT, "about": dict(self.about), "pairs": self.pairs, "finished": finished}
        write_file(self.path, json.dumps(told, indent=1) + "\n")


def order_of(seed: int, number: int) -> tuple[str, ...]:
    """Which side of a pair runs first; the same for the same seed and number, whatever was stopped before."""
    sides = list(SIDES)
    random.Random(f"{seed}-{number}").shuffle(sides)
    return tuple(sides)


def variables_of(checkout: Path | None) -> dict[str, str]:
    """The environment of a side's processes: the package of its checkout, where it has one, first on the path."""
    path = [str(checkout or ""), os.environ.get("PYTHONPATH", "")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, path)), "HARNESS_REMEASURE": "0"}


def plan_of(side: Side) -> dict[str, Any]:
    """What a side would run; ``UsageError`` in its own words where it cannot plan the suite."""
    run_to_end(side, "plan", str(side.suite_file), "--json", "--results", str(side.results))
    try:
        made: dict[str, Any] = json.loads(side.output.read_text(encoding="utf-8"))
    except ValueError:
        raise SideError(f"{side.name}: `harness plan --json` gave no plan; see {side.output}") from None
    return made


def compile_code(side: Side) -> None:
    """Compile the package of a side, so that its first run does not pay for it."""
    command = [side.python, "-m", "compileall", "-q", str(side.code)]
    subprocess.run(command, cwd=side.folder, capture_output=True, check=False)


def measure(
    sides: Mapping[str, Side], suite: str, ledger: Ledger, numbers: Iterable[int], seed: int, tell: Tell
) -> None:
    """Measure the pairs that are not whole yet; ``tell(number, side)`` before each run."""
    for number in numbers:
        if number in ledger.pairs:
            continue
        pair = {}
        for name in order_of(seed, number):
            tell(number, name)
            pair[name] = _measured(sides[name], suite)
        ledger.keep(number, pair)


def records_of(side: Side, suite: str, names: Iterable[str]) -> list[Record]:
    """The records of one run."""
    folder = Store(side.results).folder(suite)
    return [read(folder / f"{name}.json") for name in names]


def run_to_end(side: Side, *arguments: str) -> None:
    """Run a command of a side; its mistakes are raised as ours, in one line that names the side.

    A failed step is none (its record says so). Ctrl-C and SIGTERM end the command first, with a record.
    """
    process = side.command(*arguments)
    try:
        code = process.wait()
    except BaseException:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait()
        raise
    if code in STOPPED:
        raise KeyboardInterrupt
    if code in (0, 1) and "Traceback (most recent call last)" not in _tail(side):
        return
    last = next((line for line in reversed(_tail(side).splitlines()) if line.strip()), f"exit code {code}")
    kind = {2: UsageError, 3: StoreError}.get(code, SideError)
    raise kind(f"{side.name} cannot {arguments[0]} this suite: {last.removeprefix('harness: ')}")


def _measured(side: Side, suite: str) -> list[str]:
    """Run the suite once; the names of the records that it left, which are all of the side's commit."""
    folder = Store(side.results).folder(suite)
    before = _names(folder)
    run_to_end(side, "run", str(side.suite_file), "--again", "--no-report", "--json", "--results", str(side.results))
    left = sorted(_names(folder) - before)
    if not left:
        raise SideError(f"{side.name} left no record of suite '{suite}'; see {side.log}")
    for record in records_of(side, suite, left):
        sha = record["commit"].get("sha")
        if sha != side.sha:
            raise UsageError(
                f"{side.name} should run commit {side.sha[:12]}, and its record {record['record']} says "
                f"{str(sha)[:12]}: {side.python} runs another installation of the harness"
            )
    return left


def _names(folder: Path) -> set[str]:
    return {path.stem for path in folder.glob("*.json") if path.name != "plan.json" and not path.name.startswith(".")}


def _tail(side: Side) -> str:
    return side.log.read_text(encoding="utf-8", errors="replace")[-4000:]
