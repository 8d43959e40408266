"""What techniques and tasks there are, found by file name; reading the catalogue imports only what is asked for.

A technique is a file in ``harness/adapters/<group>/``, a task one in ``harness/tasks/``; its name is the file's name,
its class the one ``Adapter`` (or ``Task``) defined in it. Packages add theirs through the entry-point groups
``harness.adapters`` and ``harness.tasks``. ``HARNESS_PLUGINS="name=module,..."`` adds some for development and tests.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from harness import environments
from harness.contract import Adapter, Hardware, Task
from harness.errors import UsageError, did_you_mean
from harness.parameters import build_params

__all__ = [
    "adapter_class", "adapter_names", "build_params", "forget", "group_of", "load_adapter", "load_task",
    "missing_packages", "missing_software", "module_of", "refuses_here", "register", "task_class", "task_names",
]  # fmt: skip

# Where the name that is imported is not the name that is installed.
_PIP_NAMES = {
    "auto_gptq": "auto-gptq", "awq": "autoawq", "flash_attn": "flash-attn", "google": "protobuf",
    "llama_cpp": "llama-cpp-python", "lm_eval": "lm-eval", "pynvml": "nvidia-ml-py", "rouge_score": "rouge-score",
    "sklearn": "scikit-learn", "vl_convert": "vl-convert-python", "yaml": "PyYAML",
}  # fmt: skip

_registered: dict[str, str] = {}


def register(name: str, module: str) -> None:
    """Add a technique or task of this process under ``name``; ``module`` is ``package.module`` or ``...:Class``."""
    _registered[name] = module
    forget()


def forget() -> None:
    """Read folders, entry points and ``HARNESS_PLUGINS`` anew at the next question."""
    for cached in (_folder, _plugins, adapter_class, task_class, adapter_module, task_module):
        cached.cache_clear()


def adapter_names() -> tuple[str, ...]:
    """Names of all techniques, sorted."""
    return tuple(sorted({*_builtin_adapters(), *_plugin_names(Adapter), *_entry_points("harness.adapters")}))


def task_names() -> tuple[str, ...]:
    """Names of all tasks, sorted."""
    return tuple(sorted({*_builtin_tasks(), *_plugin_names(Task), *_entry_points("harness.tasks")}))


@cache
def adapter_class(name: str) -> type[Adapter]:
    """Import and return the technique ``name``; ``UsageError`` with the nearest name where there is none."""
    return load_adapter(adapter_module(name))


@cache
def task_class(name: str) -> type[Task]:
    """Import and return the task ``name``; ``UsageError`` with the nearest name where there is none."""
    return load_task(task_module(name))


@cache
def adapter_module(name: str) -> str:
    """Module of the technique ``name``, as a job file carries it."""
    module = _plugins().get(name) or _builtin_adapters().get(name) or _entry_points("harness.adapters").get(name)
    if module is None:
        hint = did_you_mean(name, adapter_names())
        raise UsageError(f"unknown technique '{name}'{hint or '; `harness list` shows all'}")
    return module


@cache
def task_module(name: str) -> str:
    """Module of the task ``name``, as a job file carries it."""
    module = _plugins().get(name) or _builtin_tasks().get(name) or _entry_points("harness.tasks").get(name)
    if module is None:
        hint = did_you_mean(name, task_names())
        raise UsageError(f"unknown task '{name}'{hint or '; known are ' + ', '.join(task_names())}")
    return module


def module_of(name: str) -> str:
    """Module of the technique, or else of the task, ``name``."""
    try:
        return adapter_module(name)
    except UsageError:
        if name in task_names():
            return task_module(name)
        raise


def group_of(name: str) -> str:
    """The folder that the technique lies in, which is its group; ``plugin`` for one of another package."""
    parts = adapter_module(name).split(".")
    return parts[2] if parts[:2] == ["harness", "adapters"] else "plugin"


def load_adapter(module: str) -> type[Adapter]:
    """Import ``module`` (``package.module`` or ``package.module:Class``) and return the one technique in it."""
    return _load(module, Adapter)


def load_task(module: str) -> type[Task]:
    """Import ``module`` (``package.module`` or ``package.module:Class``) and return the one task in it."""
    return _load(module, Task)


def missing_packages(requires: Iterable[str]) -> list[str]:
    """Which of the top-level imports are not installed, each with how to get it; nothing is imported."""
    return [
        f"package '{name}' is not installed (pip install {_PIP_NAMES.get(name, name)})"
        for name in requires
        if not _installed(name)
    ]


def missing_software(kind: type[Adapter]) -> list[str]:
    """What a technique lacks here for any of its operations: packages of the main environment, or another one."""
    found: list[str] = []
    for environment, requires in dict.fromkeys(kind.software(operation) for operation in (*kind.operations(), "eval")):
        if environment == environments.MAIN:
            found += missing_packages(requires)
        elif (reason := environments.lacking(environment)) is not None:
            found.append(reason)
    return list(dict.fromkeys(found))


def refuses_here(kind: type[Adapter], device: str) -> str | None:
    """Why a technique with its defaults makes no sense on a device, whatever is installed; None where it does."""
    if device not in kind.devices:
        return f"does not run on {device}"
    return kind(kind.Params()).skip(kind.precisions[0], Hardware(device=device))


@cache
def _installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def _load(reference: str, kind: type[Any]) -> type[Any]:
    module_name, _, class_name = reference.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        raise UsageError(f"no module '{module_name}' (needed for '{reference}'); is it on the path?") from None
    found = [getattr(module, class_name)] if class_name else list(_defined(module, kind))
    if len(found) != 1 or not issubclass(found[0], kind):
        names = ", ".join(item.__name__ for item in found) or "none"
        raise UsageError(f"{module_name} must define exactly one {kind.__name__}, it defines: {names}")
    return found[0]


def _defined(module: Any, kind: type[Any]) -> Iterator[type[Any]]:
    for name, item in vars(module).items():
        if isinstance(item, type) and issubclass(item, kind) and item.__module__ == module.__name__ and name[0] != "_":
            yield item


@cache
def _folder(path: str, package: str) -> dict[str, str]:
    """Python files of one folder by name; files that begin with an underscore are not for users."""
    with os.scandir(path) as entries:
        names = sorted(entry.name[:-3] for entry in entries if entry.name.endswith(".py") and entry.name[0] != "_")
    return {name: f"{package}.{name}" for name in names}


def _builtin_adapters() -> dict[str, str]:
    root = Path(__file__).parent / "adapters"
    found: dict[str, str] = {}
    for group in sorted(entry.name for entry in root.iterdir() if entry.is_dir() and entry.name[0] not in "._"):
        found |= _folder(str(root / group), f"harness.adapters.{group}")
    return found


def _builtin_tasks() -> dict[str, str]:
    return _folder(str(Path(__file__).parent / "tasks"), "harness.tasks")


@cache
def _plugins() -> dict[str, str]:
    found: dict[str, str] = {}
    for item in filter(None, (part.strip() for part in os.environ.get("HARNESS_PLUGINS", "").split(","))):
        name, equals, module = item.partition("=")
        if not (name and equals and module):
            raise UsageError(f"HARNESS_PLUGINS: '{item}' must be name=module")
        found[name.strip()] = module.strip()
    return found | _registered


def _plugin_names(kind: type[Any]) -> list[str]:
    return [name for name, module in _plugins().items() if _holds(module, kind)]


def _holds(reference: str, kind: type[Any]) -> bool:
    try:
        _load(reference, kind)
    except UsageError:
        return False
    return True


@cache
def _entry_points(group: str) -> dict[str, str]:
    # Imported here: reading the installed distributions takes longer than everything else in this file.
    from importlib.metadata import entry_points

    return {point.name: point.value for point in entry_points(group=group)}
