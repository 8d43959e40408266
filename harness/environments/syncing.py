"""Makes and removes environments with the ordinary tools: venv, and the main environment's pip."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import platform
import shutil
import site
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from harness import environments
from harness.environments import Definition, Install
from harness.errors import StoreError

LAYER = "_main.pth"
Say = Callable[[str], None]


def sync(name: str, say: Say = lambda text: None) -> bool:
    """Make an environment as it is defined, from nothing; return False where it is there already.

    One that is begun and not finished counts as not there. ``StoreError`` where it cannot be made, with what pip said.
    """
    wanted = environments.definition(name)
    with _alone(name):
        if environments.lacking(name) is None:
            return False
        began = time.monotonic()
        home = environments.folder(name)
        _clear(home)
        log = environments.root() / f"{name}.log"
        log.unlink(missing_ok=True)
        made = [sys.executable, "-P", "-m", "venv", "--without-pip", str(home)]
        _run(made, log, {}, f"cannot make environment '{name}'")
        _layer_over_main(home)
        for item in wanted.install:
            said = ", ".join(item.packages) if len(item.packages) < 4 else f"{len(item.packages)} packages"
            say(f"{name}: installing {said}{' (compiled here: minutes)' if item.compiled else ''}")
            _pip(name, item, log)
        _import(wanted, log)
        told = {
            "definition": environments.fingerprint(name),
            "main": sys.prefix,
            "packages": list(wanted.packages),
            "seconds": round(time.monotonic() - began, 1),
        }
        (home / environments.READY).write_text(json.dumps(told, indent=1) + "\n")
    return True


def remove(name: str) -> bool:
    """Remove an environment; return whether there was one."""
    environments.definition(name)
    with _alone(name):
        home = environments.folder(name)
        there = home.exists()
        _clear(home)
        (environments.root() / f"{name}.log").unlink(missing_ok=True)
    return there


def _clear(home: Path) -> None:
    """Remove an environment, its mark of completeness first; ``StoreError`` where something stays."""
    (home / environments.READY).unlink(missing_ok=True)
    shutil.rmtree(home, ignore_errors=True)
    if home.exists():
        raise StoreError(f"environment in {home} cannot be removed: is it in use, or somebody else's?")


def build_cache(variables: Mapping[str, str]) -> Path:
    """Where pip keeps what it compiled: in the user's cache, apart for every processor and every set of options."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    told = json.dumps([dict(variables), _processor(), platform.python_version_tuple()[:2]], sort_keys=True)
    return base / "llm-technique-harness" / f"wheels-{hashlib.sha256(told.encode()).hexdigest()[:12]}"


@contextlib.contextmanager
def _alone(name: str) -> Iterator[None]:
    """Wait for whoever makes or uses the same environment; ``StoreError`` where its folder cannot be written."""
    try:
        environments.root().mkdir(parents=True, exist_ok=True)
        lock = environments.lock_file(name).open("a")
    except OSError as error:
        where = environments.root()
        raise StoreError(
            f"environments cannot be made in {where}: {error.strerror}; name another folder in HARNESS_ENVIRONMENTS"
        ) from None
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _layer_over_main(home: Path) -> None:
    """Let the new interpreter find the main environment's packages behind its own."""
    (own,) = home.glob("lib/python*/site-packages")
    main = [path for path in site.getsitepackages() if Path(path).is_dir()]
    lines = [f"import site; site.addsitedir({path!r})" for path in main]
    (own / LAYER).write_text("\n".join(lines) + "\n")


def _pip(name: str, item: Install, log: Path) -> None:
    python = str(environments.interpreter(name))
    pip = [sys.executable, "-P", "-m", "pip", "--python", python]
    command = [*pip, "install", "--no-input", "--disable-pip-version-check"]
    variables = dict(item.variables)
    if item.compiled:
        variables["PIP_CACHE_DIR"] = str(build_cache(item.variables))
    what = f"cannot install {', '.join(item.packages)} into environment '{name}'"
    _run([*command, *item.options, *item.packages], log, variables, what)


def _import(wanted: Definition, log: Path) -> None:
    """Import what the environment is for: one that installs and does not import is not ready."""
    code = "import importlib, sys; [importlib.import_module(name) for name in sys.argv[1:]]"
    command = [str(environments.interpreter(wanted.name)), "-P", "-c", code, *wanted.imports]
    _run(
        command, log, environments.variables(wanted.name, 1),
        f"environment '{wanted.name}' was installed and does not import",
    )  # fmt: skip


def _run(command: Sequence[str], log: Path, variables: Mapping[str, str], what: str) -> None:
    """Run a command with its output in the log; ``StoreError`` with its last error where it fails."""
    with log.open("a") as file:
        file.write(f"$ {' '.join(command)}\n")
        file.flush()
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT,
                env={**os.environ, **variables}, check=False,
            )  # fmt: skip
        except OSError as error:
            raise StoreError(f"{what}: {error.strerror}") from None
    if done.returncode != 0:
        raise StoreError(f"{what}: {_last_error(log)} (all of it in {log})")


def _last_error(log: Path) -> str:
    """The last line that looks like an error, or else the last line."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower()]
    return (errors or lines)[-1][:300]


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith(("flags", "Features")):
                return line
    return platform.processor()

