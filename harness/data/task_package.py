"""Tasks of lm-eval as its own objects: from a checked file, or by the name that the package knows.

Its index of all tasks is not built (14 000 files, 6 seconds): a file of one's own is given, and a named task is looked
for by its line in the package's files.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from harness.data.task_file import Function, TaskFile
from harness.errors import DataError, did_you_mean
from harness.plain_text import one_line

FEW_SHOT_SEED = 1234  # of lm-eval's own command


def from_file(file: TaskFile, cache: Path, *, functions: bool) -> Any:
    """The task that a checked file describes; what ``datasets`` prepares of its local data goes to ``cache``.

    Without ``functions`` its templates run in Jinja's sandbox, where lm-eval runs them without one.
    """
    config = _with_functions(file.config) if functions else dict(file.config)
    for key in ("tag", "group", "task_list"):
        config.pop(key, None)
    options = dict(config.get("dataset_kwargs") or {})
    if "data_files" in options:  # what is of the hub stays where ``harness prepare`` had it put
        config["dataset_kwargs"] = {**options, "cache_dir": str(cache / "datasets")}
    if not functions:
        _use_sandbox()
    return _built(config, file.name)


def from_package(name: str) -> Any:
    """A task that lm-eval ships; its data come from the hub, or from the hub's cache."""
    from lm_eval.tasks._yaml_loader import load_yaml

    config = load_yaml(_file_of(name), resolve_func=True)
    for key in ("tag", "group", "task_list"):
        config.pop(key, None)
    return _built(config, name)


def prepare(task: Any, shots: int | None) -> None:
    """Set what lm-eval's command would: the examples in front (a task that says 0 keeps it), and their seed."""
    default = task.get_config("num_fewshot")
    if shots is not None and default != 0:
        task.set_config("num_fewshot", shots)
    elif default is None:
        task.set_config("num_fewshot", 0)
    task.set_fewshot_seed(FEW_SHOT_SEED)


def _built(config: dict[str, Any], name: str) -> Any:
    from lm_eval.api.task import ConfigurableTask

    where = config.get("dataset_path")
    if isinstance(where, str) and "/" in where and Path(where).exists():
        raise DataError(f"the data set '{where}' of {name} is a folder here, which would be read instead")
    try:
        if "class" in config:
            kind = config["class"]
            task = kind(config=config) if "config" in kind.__init__.__code__.co_varnames else kind()
        else:
            task = ConfigurableTask(config=config)
    except Exception as error:  # lm-eval and datasets raise a dozen unrelated types for what a file says wrong
        raise DataError(f"lm-eval cannot make the task {name}: {_said(error)}{_hint(config)}") from error
    if getattr(task, "UNSAFE_CODE", False) or getattr(task, "MULTIMODAL", False):
        raise DataError(f"{name}: tasks over images or sound, or that run what a model writes, are not supported")
    return task


def _hint(config: dict[str, Any]) -> str:
    of_hub = "data_files" not in (config.get("dataset_kwargs") or {})
    hint = "; its data must be in the hub's cache: `harness prepare SUITE` fetches them"
    return hint if of_hub and os.environ.get("HF_HUB_OFFLINE") == "1" else ""


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {one_line((str(error).strip().splitlines() or ['no reason given'])[0], 300)}"


def _with_functions(value: Any) -> Any:
    """The same with every function that is named in place of its name: here code of the suite is imported."""
    from lm_eval.tasks._yaml_loader import _import_func_in_yml

    if isinstance(value, Function):
        try:
            return _import_func_in_yml(value.name, value.folder)
        except (ImportError, AttributeError, ValueError) as error:
            raise DataError(f"!function {one_line(value.name, 60)} cannot be imported: {_said(error)}") from error
    if isinstance(value, dict):
        return {key: _with_functions(item) for key, item in value.items()}
    return [_with_functions(item) for item in value] if isinstance(value, list) else value


def _use_sandbox() -> None:
    """Render templates where they reach no attribute that leads out of what they are given."""
    import lm_eval.utils
    from jinja2 import StrictUndefined
    from jinja2.sandbox import SandboxedEnvironment

    plain = lm_eval.utils.env
    if isinstance(plain, SandboxedEnvironment):
        return
    sandbox = SandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True)
    sandbox.filters |= {"regex_replace": plain.filters["regex_replace"]}
    lm_eval.utils.env = sandbox


def _file_of(name: str) -> Path:
    """The package's file whose line ``task:`` gives the name, folders of a like name first."""
    import lm_eval.tasks

    root = Path(lm_eval.tasks.__file__).parent
    line = re.compile(rb"^task:[ \t]*[\"']?%s[\"']?[ \t]*(#.*)?\r?$" % re.escape(name).encode(), re.MULTILINE)
    group = re.compile(rb"^(group|tag):[ \t]*[\"']?%s[\"']?[ \t]*\r?$" % re.escape(name).encode(), re.MULTILINE)
    begin = re.split(r"[_-]", name)[0]
    grouped, folders = False, set()
    for file in sorted(root.rglob("*.yaml"), key=lambda path: (begin not in path.as_posix(), path.as_posix())):
        content = file.read_bytes()
        if line.search(content):
            return file
        grouped = grouped or group.search(content) is not None
        folders.add(file.parent.name)
    if grouped:
        raise DataError(f"'{name}' is a group of lm-eval's tasks; name its tasks one by one: task=[one, another]")
    raise DataError(f"lm-eval has no task '{name}'{did_you_mean(name, folders)}; a file is named like ./task.yaml")
