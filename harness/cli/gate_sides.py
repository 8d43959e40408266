"""The two sides of a gate: what was asked for, checked before anything is measured.

A side is a git ref of the harness's own checkout, an interpreter, or both. A ref is checked out and its code runs, in
the interpreter that was given or in this one; an interpreter alone runs the harness that is installed there.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.catalogue import plugged_in
from harness.cli.planning import SUITES, suite_file
from harness.errors import UsageError, did_you_mean
from harness.results.record import write_file
from harness.run.checkouts import HERE, State, checked_out, content_of, names_of, repository, state_of
from harness.run.interpreters import Interpreter, ask, check
from harness.run.pairs import SIDES, Side, variables_of


@dataclass(frozen=True)
class Origin:
    """Where the code of a side comes from: a ``state`` of the repository, or None for what ``python`` has installed.

    ``given`` is the interpreter as it was typed; None where this one runs.
    """

    name: str
    state: State | None
    python: str
    given: str | None


@dataclass(frozen=True)
class Known:
    """A side that is ready to run, and what its interpreter says of itself."""

    origin: Origin
    side: Side
    interpreter: Interpreter

    def about(self) -> dict[str, Any]:
        """What makes it another gate when it changes, and what a reader of ``pairs.json`` wants to know."""
        state, own = self.origin.state, self.interpreter.harness
        code = [state.sha, state.changes] if state else [own.sha, own.code] if own else []
        told = {"python": self.interpreter.python, "build": self.interpreter.build, "interpreter": self.side.python}
        return {"code": code, **told, "packages": dict(self.interpreter.packages)}

    @property
    def label(self) -> str:
        """A short name for folders."""
        state, own = self.origin.state, self.interpreter.harness
        return state.name if state else f"{own.sha[:8]}+{own.code[:6]}" if own else ""


@dataclass(frozen=True)
class SuiteText:
    """The suite of both sides: its text at head, and its path below the repository's root, or an absolute one."""

    file: Path
    text: str


def origins(refs: Mapping[str, str | None], pythons: Mapping[str, str | None]) -> tuple[Path | None, dict[str, Origin]]:
    """The repository, where a side is a ref, and both sides; ``UsageError`` where one is nothing."""
    for side in SIDES:
        if refs[side] is None and pythons[side] is None:
            either = f"a git ref (--{side} REF), an environment (--{side}-python PATH) or both"
            raise UsageError(f"say what {side} is: {either}")
    root = repository() if any(ref is not None for ref in refs.values()) else None
    found = {}
    for side in SIDES:
        ref = refs[side]
        state = state_of(root, ref) if root is not None and ref is not None else None
        found[side] = Origin(side, state, interpreter(side, pythons[side]), pythons[side])
    return root, found


def suite_at(root: Path | None, head: State | None, name: str) -> SuiteText:
    """The suite as it is at head; ``UsageError`` with the nearest name where it is not there.

    A file outside the repository is read as it is, and so is every one where head is no state of it.
    """
    given = Path(name)
    if root is None or head is None:
        given = suite_file(name)
    if root is None or head is None or (given.is_file() and not given.resolve().is_relative_to(root)):
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
    inside = Path(given) / "bin" / "python"
    found = str(inside) if inside.is_file() else shutil.which(given)
    if found is None:
        raise UsageError(f"--{side}-python {given} is no interpreter that can be started, nor a virtual environment")
    return os.path.abspath(found)  # noqa: PTH100  (a virtual environment's python is a link that must stay one)


def check_packages(root: Path | None, origins: Mapping[str, Origin]) -> None:
    """``UsageError`` where the two states ask for other packages, which one environment cannot give to both."""
    states = [origins[side].state for side in SIDES if origins[side].given is None]
    asked = [_dependencies(content_of(root, state, "pyproject.toml")) for state in states if root and state]
    if len(asked) < 2:
        return
    gone, new = sorted(asked[0] - asked[1]), sorted(asked[1] - asked[0])
    if gone or new:
        raise UsageError(
            f"base and head ask for other packages ({', '.join(gone) or 'nothing'} -> {', '.join(new) or 'nothing'}): "
            "give --base-python and --head-python, or --same-environment to run both with these here"
        )


@contextlib.contextmanager
def ready(root: Path | None, origins: Mapping[str, Origin], suite: SuiteText) -> Iterator[dict[str, Known]]:
    """Both sides, their interpreters asked; only where results go is not known yet. Checkouts are gone afterwards.

    ``UsageError`` where an interpreter has no harness, or numbers of the two could not be compared.
    """
    states = {side: one.state for side, one in origins.items() if one.state is not None}
    with contextlib.ExitStack() as stack:
        folders = stack.enter_context(checked_out(root, states)) if root is not None else {}
        # Not where the command was typed: Python would take the harness that lies there for the installed one.
        empty = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="harness-gate-")))
        for side, folder in folders.items():
            if not suite.file.is_absolute():
                _put(folder / suite.file, suite.text, states[side])
        found = {}
        for side in SIDES:
            file = folders.get(side, folders.get("head", empty)) / suite.file
            found[side] = _known(origins[side], folders.get(side), empty, file)
        check(found["base"].interpreter, found["head"].interpreter)
        yield found


def _known(origin: Origin, checkout: Path | None, empty: Path, suite: Path) -> Known:
    folder = checkout or empty
    told = ask(origin.name, origin.python, folder, variables_of(checkout))
    if told.harness is None and origin.state is None:
        raise UsageError(
            f"{origin.name}: {origin.given} cannot import the harness ({told.trouble}): install it there, or give a "
            f"git ref too (--{origin.name} REF), whose code it then runs"
        )
    sha = origin.state.sha if origin.state else told.harness.sha if told.harness else ""
    code = told.harness.folder if told.harness else folder / "harness"
    side = Side(origin.name, folder, origin.python, suite, Path(), sha, code, checkout is not None, plugged_in())
    return Known(origin, side, told)


def _put(file: Path, text: str, state: State) -> None:
    """The head's suite into a checkout that has another one; a user's own working tree is left alone."""
    if file.is_file() and file.read_text(encoding="utf-8") == text:
        return
    if state.ref == HERE:
        raise UsageError(f"base is the working tree, whose {file.name} is not the head's: both must run the same suite")
    write_file(file, text)


def plug_ins() -> dict[str, list[str]]:
    """What ``--plugin`` gave to both sides, files with what is in them; empty where it gave nothing."""
    digests = [
        f"{given} {hashlib.sha256(Path(given).read_bytes()).hexdigest()[:16]}" if given.endswith(".py") else given
        for given in plugged_in()
    ]
    return {"plugins": digests} if digests else {}


def check_plans(plans: Mapping[str, Mapping[str, Any]]) -> str:
    """The suite's name; ``UsageError`` where the two sides have no cell in common."""
    axes = ("method", "model", "data", "precision", "hardware", "seed")
    cells = {side: {tuple(cell.get(axis) for axis in axes) for cell in plan["cells"]} for side, plan in plans.items()}
    if not cells["base"] & cells["head"]:
        raise UsageError("base and head plan no cell in common for this suite: there is nothing to compare")
    return str(plans["head"]["suite"])


def _dependencies(text: str | None) -> set[str]:
    try:
        project = tomllib.loads(text or "").get("project", {})
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"a pyproject.toml cannot be read: {error}") from None
    return {"".join(item.split()) for item in project.get("dependencies", ())}
