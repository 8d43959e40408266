"""Interpreters of other environments: which Python and which packages they have, and which harness they import."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import UsageError
from harness.results.record import FORMAT

SECONDS = 120  # an interpreter that does not answer for so long is none

# Run by that interpreter, with its own packages: nothing here is known to be there.
_ASK = """
import hashlib, importlib.metadata, json, pathlib, sys

told = {"python": ".".join(map(str, sys.version_info[:3])), "build": sys.version}
packages = {}
for each in importlib.metadata.distributions():  # of two the first is imported
    packages.setdefault(each.metadata["Name"], each.version)
told["packages"] = {name: packages[name] for name in sorted(filter(None, packages))}
try:
    import harness
    from harness.contract import MEASUREMENT_VERSION
    from harness.results.record import FORMAT
    from harness.run.environment import commit_facts

    folder, code = pathlib.Path(harness.__file__).parent, hashlib.sha256()
    for file in sorted(each for each in folder.rglob("*") if each.is_file() and "__pycache__" not in each.parts):
        code.update(file.relative_to(folder).as_posix().encode() + file.read_bytes())
    told["harness"] = {"folder": str(folder), "code": code.hexdigest()[:16], "measurement_version": MEASUREMENT_VERSION,
                       "record_format": FORMAT, "sha": commit_facts()["sha"]}
except Exception as error:
    told["trouble"] = f"{type(error).__name__}: {error}"
print("\\n" + json.dumps(told))
"""


@dataclass(frozen=True)
class Harness:
    """The harness that an interpreter imports: its package's folder, a digest of every file in it, its versions, and
    the commit of its checkout (``unknown`` where it is none).
    """

    folder: Path
    code: str
    measurement_version: int
    record_format: int
    sha: str


@dataclass(frozen=True)
class Interpreter:
    """What an interpreter says of itself; without a ``harness`` there is ``trouble``, why it imports none."""

    python: str
    build: str
    packages: Mapping[str, str]
    harness: Harness | None
    trouble: str = ""

    @property
    def version(self) -> str:
        """The version of the harness that is installed there; empty for one that is on the path alone."""
        return self.packages.get("llm-technique-harness", "")


def ask(side: str, python: str, folder: Path, variables: Mapping[str, str]) -> Interpreter:
    """What ``python``, started in ``folder``, says of itself; ``UsageError`` where it is no Python that starts."""
    try:
        done = subprocess.run(
            [python, "-c", _ASK], cwd=folder, env=dict(variables), capture_output=True, text=True, check=False,
            stdin=subprocess.DEVNULL, timeout=SECONDS,
        )  # fmt: skip
    except OSError as error:
        raise UsageError(f"{side}: {python} cannot be started: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise UsageError(f"{side}: {python} did not answer within {SECONDS} seconds") from None
    try:
        told: dict[str, Any] = json.loads(done.stdout.strip().rpartition("\n")[2])
        own = told.get("harness")
        harness = Harness(**{**own, "folder": Path(own["folder"])}) if own else None
        return Interpreter(told["python"], told["build"], told["packages"], harness, told.get("trouble", ""))
    except (ValueError, KeyError, TypeError):
        raise UsageError(f"{side}: {python} is no Python that can tell its packages") from None


def check(base: Interpreter, head: Interpreter) -> None:
    """``UsageError`` where numbers of the two cannot be compared, or not be read here; before anything is measured."""
    for side, one in (("base", base), ("head", head)):
        if one.harness is not None and one.harness.record_format > FORMAT:
            raise UsageError(
                f"{side} writes records of format {one.harness.record_format}, this harness reads up to {FORMAT}: "
                "start the gate with the newer harness of the two"
            )
    versions = [one.harness.measurement_version for one in (base, head) if one.harness is not None]
    if len(set(versions)) > 1:
        raise UsageError(
            f"base measures by version {versions[0]} of the measurement, head by version {versions[1]}: their numbers "
            "cannot be compared; take two commits or environments with one MEASUREMENT_VERSION (harness/contract.py)"
        )


def differing(base: Interpreter, head: Interpreter) -> list[str]:
    """Packages that are not the same in both, as ``numpy 2.2.1 -> 2.3.0``; ``none`` where one has none."""
    names = sorted({*base.packages, *head.packages}, key=str.lower)
    both = [(name, base.packages.get(name, "none"), head.packages.get(name, "none")) for name in names]
    return [f"{name} {one} -> {other}" for name, one, other in both if one != other]
