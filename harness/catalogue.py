"""What techniques and tasks there are, found by file name; reading the catalogue imports only what is asked for.

A technique is a file in ``harness/adapters/<group>/``, a task one in ``harness/tasks/``; its name is the file's name,
its class the one ``Adapter`` (or ``Task``) defined in it. Packages add theirs through the entry-point groups
``harness.adapters`` and ``harness.tasks``; ``harness --plugin MODULE_OR_FILE`` adds one that is not installed. Nothing
else does: no variable, no suite and no folder names code that is run.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from harness import environments
from harness.contract import Adapter, Hardware, Task
from harness.errors import UsageError, did_you_mean
from harness.parameters import build_params

__all__ = [
    "adapter_class", "adapter_names", "build_params", "digest_of", "forget", "group_of", "load_adapter", "load_task",
    "missing_packages", "missing_software", "module_of", "plug_in", "plugged_in", "refuses_here", "register",
    "task_class", "task_names",
]  # fmt: skip

# Where the name that is imported is not the name that is installed.
_PIP_NAMES = {
    "auto_gptq": "auto-gptq", "awq": "autoawq", "flash_attn": "flash-attn", "google": "protobuf",
    "llama_cpp": "llama-cpp-python", "lm_eval": "lm-eval", "pynvml": "nvidia-ml-py", "rouge_score": "rouge-score",
    "sklearn": "scikit-learn", "vl_convert": "vl-convert-python", "yaml": "PyYAML",
}  # fmt: skip

_registered: dict[str, str] = {}


def register(name: str, module: str) -> None:
    """Add a technique or task of this process under ``name``; ``module`` is one as ``load_adapter`` takes it."""
    _registered[name] = module
    forget()


def plug_in(text: str) -> None:
    """Add what ``--plugin`` names to this process: a module (``package.module``, ``...:Class``) or a file (``x.py``).

    Its name is the file's, or the module's last word. ``UsageError`` where it cannot be imported, defines neither one
    technique nor one task, or has the name of something else.
    """
    file = Path(text).expanduser()
    reference = str(file.absolute()) if file.suffix == ".py" else text
    name = file.stem if file.suffix == ".py" else text.partition(":")[0].rpartition(".")[2]
    if not name.isidentifier():
        raise UsageError(f"--plugin {text}: '{name}' can be no name in a suite; call the file or module otherwise")
    if name in _builtin_adapters() or name in _builtin_tasks():
        raise UsageError(f"--plugin {text}: '{name}' is the harness's own; call the file or module otherwise")
    if _registered.get(name, reference) != reference:
        raise UsageError(f"--plugin {text}: '{name}' is named twice, the other is {_registered[name]}")
    try:
        module = _module(reference.partition(":")[0])
    except UsageError as error:
        raise UsageError(f"--plugin {text}: {error}") from None
    except Exception as error:
        told = f"{type(error).__name__}: {error}"
        raise UsageError(f"--plugin {text} cannot be imported: {told}{_line_of(error, reference)}") from error
    if not (_holds(reference, Adapter) or _holds(reference, Task)):
        raise UsageError(f"--plugin {text}: {module.__name__} must define exactly one Adapter or one Task")
    register(name, reference)


def plugged_in() -> tuple[str, ...]:
    """What ``--plugin`` added to this process, as another process can be given it: files by their absolute paths."""
    return tuple(_registered.values())


def _line_of(error: Exception, file: str) -> str:
    """The last line of the plug-in's own file on the way to an error, where there is one."""
    import traceback

    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    return f" (line {lines[-1]})" if lines else ""


def forget() -> None:
    """Read folders and entry points anew at the next question."""
    for cached in (_folder, _digest, adapter_class, task_class, adapter_module, task_module):
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
    module = _registered.get(name) or _builtin_adapters().get(name) or _entry_points("harness.adapters").get(name)
    if module is None:
        hint = did_you_mean(name, adapter_names())
        raise UsageError(f"unknown technique '{name}'{hint or '; `harness list` shows all'}")
    return module


@cache
def task_module(name: str) -> str:
    """Module of the task ``name``, as a job file carries it."""
    module = _registered.get(name) or _builtin_tasks().get(name) or _entry_points("harness.tasks").get(name)
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
    """Import ``module`` (``package.module``, ``package.module:Class``, ``/a/file.py``) and return its one technique."""
    return _load(module, Adapter)


def load_task(module: str) -> type[Task]:
    """Import ``module`` (as ``load_adapter`` takes it) and return the one task in it."""
    return _load(module, Task)


def digest_of(kind: type[Any]) -> str | None:
    """SHA-256 of the file that defines a plug-in, None for what is the harness's own, whose commit records tell."""
    return None if kind.__module__.startswith("harness.") else _digest(kind.__module__)


@cache
def _digest(module: str) -> str | None:
    file = sys.modules[module].__file__
    return None if file is None else hashlib.sha256(Path(file).read_bytes()).hexdigest()


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
    module = _module(module_name)
    found = [getattr(module, class_name)] if class_name else list(_defined(module, kind))
    if len(found) != 1 or not issubclass(found[0], kind):
        names = ", ".join(item.__name__ for item in found) or "none"
        raise UsageError(f"{module_name} must define exactly one {kind.__name__}, it defines: {names}")
    return found[0]


def _module(name: str) -> ModuleType:
    """Import a module by its name, or the one file of a plug-in, whose folder gets on nobody's path."""
    if name.endswith(".py"):
        return _module_of_file(Path(name))
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise
        raise UsageError(f"no module '{name}'; is it on the path?") from None


def _module_of_file(file: Path) -> ModuleType:
    name = f"plugin_{file.stem}"
    known = sys.modules.get(name)
    if known is not None and known.__file__ == str(file):
        return known
    if not file.is_file():
        raise UsageError(f"there is no file {file}")
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


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


def _plugin_names(kind: type[Any]) -> list[str]:
    return [name for name, module in _registered.items() if _holds(module, kind)]


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
