"""Environments for packages that cannot live with the others: what they hold, and which are set up here.

``main`` is the one that the harness is installed in. Every other is a file ``NAME.toml`` in this folder: pinned
packages in a virtual environment of their own, layered over the main one, whose packages it sees where it has none
itself. They lie in the main environment's folder (``HARNESS_ENVIRONMENTS`` names another place). Light: the plan asks
which are there, ``harness.environments.syncing`` makes them.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from harness.errors import UsageError, did_you_mean

MAIN = "main"
READY = "ready.json"
DEFINITIONS = Path(__file__).parent


@dataclass(frozen=True)
class Install:
    """One call of pip: pinned packages, its options, and the variables that their builds read.

    ``compiled`` packages are built for the processor of this machine.
    """

    packages: tuple[str, ...]
    options: tuple[str, ...] = ()
    variables: dict[str, str] = field(default_factory=dict)
    compiled: bool = False


@dataclass(frozen=True)
class Definition:
    """One environment: what it is for, what is installed, what must import, and the variables of its workers."""

    name: str
    summary: str
    techniques: tuple[str, ...]
    imports: tuple[str, ...]
    install: tuple[Install, ...]
    variables: dict[str, str]
    preload: tuple[str, ...] | None

    @property
    def packages(self) -> tuple[str, ...]:
        """Every pinned package."""
        return tuple(package for item in self.install for package in item.packages)


def names() -> tuple[str, ...]:
    """Names of all environments but ``main``, sorted."""
    return tuple(sorted(path.stem for path in DEFINITIONS.glob("*.toml")))


def definition(name: str) -> Definition:
    """Read the definition of an environment; ``UsageError`` with the nearest name where there is none."""
    import tomllib

    if name not in names():
        raise UsageError(f"unknown environment '{name}'{did_you_mean(name, names())}; known: {', '.join(names())}")
    content: dict[str, Any] = tomllib.loads(_file(name).read_text())
    install = tuple(
        Install(
            tuple(item["packages"]), tuple(item.get("options", ())), item.get("variables", {}),
            item.get("compiled", False),
        )
        for item in content["install"]
    )  # fmt: skip
    preload = content.get("preload")
    return Definition(
        name, content["summary"], tuple(content["techniques"]), tuple(content["imports"]), install,
        content.get("variables", {}), None if preload is None else tuple(preload),
    )  # fmt: skip


def variables(name: str, threads: int) -> dict[str, str]:
    """Variables of an environment's workers; ``{workers}`` in them is the threads of the step, and two at least."""
    own = {} if name == MAIN else definition(name).variables
    return {key: value.format(workers=max(2, threads)) for key, value in own.items()}


def root() -> Path:
    """The folder that the environments lie in."""
    return Path(os.environ.get("HARNESS_ENVIRONMENTS") or Path(sys.prefix) / "environments")


def folder(name: str) -> Path:
    """The folder of one environment."""
    return root() / name


def python(name: str) -> str:
    """Interpreter of an environment; ``UsageError`` with the command that makes it where it is not set up."""
    if name == MAIN:
        return sys.executable
    if reason := lacking(name):
        raise UsageError(reason)
    return str(interpreter(name))


def hold(name: str) -> TextIO | None:
    """Keep an environment from being made anew or removed until what is returned is closed; None for ``main``."""
    if name == MAIN:
        return None
    try:
        file = lock_file(name).open("a")
    except OSError:  # of a place that cannot be written nobody removes anything
        return None
    fcntl.flock(file, fcntl.LOCK_SH)
    return file


def lock_file(name: str) -> Path:
    """What is locked by whoever uses an environment (shared) or changes it (alone)."""
    return root() / f".{name}.lock"


def interpreter(name: str) -> Path:
    """Where the interpreter of an environment lies once it is made."""
    return folder(name) / "bin" / "python"


def ready() -> frozenset[str]:
    """Names of the environments that are set up as they are defined now, ``main`` among them."""
    return frozenset({MAIN, *(name for name in names() if lacking(name) is None)})


def lacking(name: str) -> str | None:
    """Why an environment cannot be used, with the command that helps, or None."""
    if name == MAIN:
        return None
    command = f"harness env sync {name}"
    if name not in names():
        return f"needs the environment '{name}', which nobody has defined"
    told = state(name)
    if told is None or not interpreter(name).exists():
        return f"needs the environment '{name}': {command}"
    if told.get("main") != sys.prefix:
        return f"needs the environment '{name}', which was set up over another main environment: {command}"
    if told["definition"] != fingerprint(name):
        return f"needs the environment '{name}', which was set up for other versions: {command}"
    return None


def state(name: str) -> dict[str, Any] | None:
    """What was written when an environment was completed; None where it is not there or not whole."""
    try:
        told: dict[str, Any] = json.loads((folder(name) / READY).read_text())
    except (OSError, ValueError):
        return None
    return told


def fingerprint(name: str) -> str:
    """Hash of an environment's definition and of the Python version that it is made for, as 16 hex digits."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}\n".encode()
    return hashlib.sha256(version + _file(name).read_bytes()).hexdigest()[:16]


def _file(name: str) -> Path:
    return DEFINITIONS / f"{name}.toml"
