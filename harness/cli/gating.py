"""``harness gate``: two states of the harness measured in turns, and whether the second is worse."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import time
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.cli.gate_facts import AGAIN, facts_of, never_done
from harness.cli.planning import SUITES
from harness.cli.terminal import print
from harness.errors import UsageError, did_you_mean
from harness.results.record import write_file
from harness.results.store import Store
from harness.run.checkouts import HERE, State, checked_out, content_of, names_of, repository, state_of
from harness.run.launcher import terminable
from harness.run.pairs import SIDES, Ledger, Side, compile_code, installed, measure, plan_of, records_of
from harness.run.supervise import Terminated

if TYPE_CHECKING:
    from harness.analyse.gate import Judgement, Pair
    from harness.cli.judging import Outputs

FOLDER = ".gate"


@dataclass(frozen=True)
class Asked:
    """What the command line asked for; refs, interpreters by side."""

    suite: str
    refs: Mapping[str, str]
    pythons: Mapping[str, str | None]
    pairs: int
    seed: int
    results: Path
    same_environment: bool = False


@dataclass(frozen=True)
class SuiteText:
    """The suite of both sides: its text at head, and its path below the repository's root, or an absolute one."""

    file: Path
    text: str


def gate(asked: Asked, outputs: Outputs) -> int:
    """Measure, judge and tell; the exit code, 130 or 143 where it was stopped."""
    from harness.cli.comparing import tell_cases

    root = repository()
    states = {side: state_of(root, asked.refs[side]) for side in SIDES}
    suite = suite_at(root, states["head"], asked.suite)
    pythons = {side: interpreter(side, asked.pythons[side]) for side in SIDES}
    if not asked.same_environment and not any(asked.pythons.values()):
        check_packages(root, states)
    Store(asked.results).check_writable()
    try:
        with terminable():
            name, judged, pairs, ledger = _measured(asked, root, states, suite, pythons, quiet=outputs.as_json)
    except (KeyboardInterrupt, Terminated) as stop:
        print("stopped; the same command goes on where this one stopped", file=sys.stderr)
        return 143 if isinstance(stop, Terminated) else 130
    if not judged.cases:
        ledger.finish()
        raise UsageError(f"suite '{name}' gave no number that is watched, on either side{never_done(judged)}")
    code = tell_cases(f"gate of {name}", judged.cases, facts_of(states, pairs, judged, asked.seed), outputs)
    ledger.finish()  # not before it is told: where a file cannot be written nothing need be measured again
    return code


def suite_at(root: Path, head: State, name: str) -> SuiteText:
    """The suite as it is at head; ``UsageError`` with the nearest name where it is not there.

    A file outside the repository is read as it is.
    """
    given = Path(name)
    if given.is_file() and not given.resolve().is_relative_to(root):
        return SuiteText(given.resolve(), given.read_text(encoding="utf-8"))
    if given.is_file():
        file = given.resolve().relative_to(root)
    else:
        file = given if given.suffix in (".yaml", ".yml") else SUITES / f"{name}.yaml"
    text = content_of(root, head, file.as_posix())
    if text is None:
        known = [each.removesuffix(".yaml") for each in names_of(root, head, str(SUITES)) if each.endswith(".yaml")]
        raise UsageError(f"head ({head.ref}) has no suite {file}{did_you_mean(file.stem, known)}")
    return SuiteText(file, text)


def interpreter(side: str, given: str | None) -> str:
    """The interpreter of a side as an absolute path; ``UsageError`` where there is none."""
    if given is None:
        return sys.executable
    found = shutil.which(given)
    if found is None:
        raise UsageError(f"--{side}-python {given} is no interpreter that can be started")
    return os.path.abspath(found)  # noqa: PTH100  (a virtual environment's python is a link that must stay one)


def check_packages(root: Path, states: Mapping[str, State]) -> None:
    """``UsageError`` where the two states ask for other packages, which one environment cannot give to both."""
    asked = [_dependencies(content_of(root, states[side], "pyproject.toml")) for side in SIDES]
    gone, new = sorted(asked[0] - asked[1]), sorted(asked[1] - asked[0])
    if gone or new:
        raise UsageError(
            f"base and head ask for other packages ({', '.join(gone) or 'nothing'} -> {', '.join(new) or 'nothing'}): "
            "give --base-python and --head-python, or --same-environment to run both with these here"
        )


def _measured(
    asked: Asked, root: Path, states: Mapping[str, State], suite: SuiteText, pythons: Mapping[str, str], *, quiet: bool
) -> tuple[str, Judgement, list[Pair], Ledger]:
    """Measure the pairs that are not there yet, and as many again where something looks worse."""
    from harness.analyse.alarm import FEWEST_PAIRS
    from harness.analyse.gate import Pair, judge, lacking
    from harness.cli.comparing import counted

    about = {
        "suite": hashlib.sha256(suite.text.encode()).hexdigest()[:16], "seed": asked.seed,
        "installed": {side: installed(side, pythons[side]) for side in SIDES},
        **{side: [states[side].sha, states[side].changes, pythons[side]] for side in SIDES},
    }  # fmt: skip
    digest = hashlib.sha256(json.dumps(about).encode()).hexdigest()[:6]
    folder = asked.results.resolve() / FOLDER / f"{states['base'].name}-{states['head'].name}-{digest}"
    ledger = Ledger.open(folder / "pairs.json", about)
    with _sides(root, states, suite, pythons, folder) as sides:
        name = check_plans({side: plan_of(each) for side, each in sides.items()})

        def pairs(numbers: Sequence[int]) -> list[Pair]:
            measure(sides, name, ledger, numbers, asked.seed, _Progress(numbers, ledger, quiet))
            return [
                Pair(number, *(tuple(records_of(sides[side], name, ledger.pairs[number][side])) for side in SIDES))
                for number in numbers
            ]

        def undisturbed(first: int) -> list[Pair]:
            """As many pairs as were asked for, and up to half as many more in place of disturbed ones."""
            after, last = first + asked.pairs, first + asked.pairs + asked.pairs // 2
            found = pairs(range(first, after))
            while asked.pairs >= FEWEST_PAIRS and after < last and (missing := lacking(found, asked.pairs)):
                further = range(after, min(last, after + missing))
                found, after = [*found, *pairs(further)], further.stop
            return found

        first = undisturbed(1)
        judged = judge(first)
        if not judged.suspected:
            return name, judged, first, ledger
        if not quiet:
            print(f"{counted(len(judged.suspected), 'number')} may be worse: {asked.pairs} pairs are measured again")
        again = undisturbed(AGAIN + 1)
        return name, judge(first, again), [*first, *again], ledger


@contextmanager
def _sides(
    root: Path, states: Mapping[str, State], suite: SuiteText, pythons: Mapping[str, str], folder: Path
) -> Iterator[dict[str, Side]]:
    with checked_out(root, states) as folders:
        sides = {}
        for name in SIDES:
            file = folders[name] / suite.file
            if not suite.file.is_absolute():
                _put(file, suite.text, states[name])
            sides[name] = Side(name, folders[name], pythons[name], file, folder / name, states[name].sha)
            compile_code(sides[name])
        yield sides


def _put(file: Path, text: str, state: State) -> None:
    """The head's suite into a checkout that has another one; a user's own working tree is left alone."""
    if file.is_file() and file.read_text(encoding="utf-8") == text:
        return
    if state.ref == HERE:
        raise UsageError(f"base is the working tree, whose {file.name} is not the head's: both must run the same suite")
    write_file(file, text)


def check_plans(plans: Mapping[str, Mapping[str, Any]]) -> str:
    """The suite's name; ``UsageError`` where the two sides have no cell in common."""
    axes = ("method", "model", "data", "precision", "hardware", "seed")
    cells = {side: {tuple(cell.get(axis) for axis in axes) for cell in plan["cells"]} for side, plan in plans.items()}
    if not cells["base"] & cells["head"]:
        raise UsageError("base and head plan no cell in common for this suite: there is nothing to compare")
    return str(plans["head"]["suite"])


class _Progress:
    """A line before each run, with a guess of the time that is left."""

    def __init__(self, numbers: Sequence[int], ledger: Ledger, quiet: bool) -> None:
        self._last, self._quiet = numbers[-1], quiet
        self._left = 2 * sum(number not in ledger.pairs for number in numbers)
        self._began, self._runs = time.monotonic(), 0

    def __call__(self, number: int, side: str) -> None:
        if not self._quiet:
            left = (time.monotonic() - self._began) / self._runs * (self._left - self._runs) if self._runs else None
            told = "" if left is None else f"  (about {left / 60:.0f} min left)"
            print(f"pair {number % AGAIN}/{self._last % AGAIN}: {side}{told}", flush=True)
        self._runs += 1


def _dependencies(text: str | None) -> set[str]:
    try:
        project = tomllib.loads(text or "").get("project", {})
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"a pyproject.toml cannot be read: {error}") from None
    return {"".join(item.split()) for item in project.get("dependencies", ())}
