"""What every technique and task must keep to, checked over every file in harness/adapters and harness/tasks unasked.

Those of other packages, and those that ``--plugin`` names, are checked too (docs/howto/technique.md).
"""

from __future__ import annotations

import ast
import dataclasses
import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

import harness
from harness.catalogue import (
    adapter_class,
    adapter_names,
    load_adapter,
    load_task,
    missing_packages,
    task_class,
    task_names,
)  # fmt: skip
from harness.contract import PRECISIONS, Adapter, Hardware, Modifier, Task, TrainingParams, TrainingSetup, defaults
from harness.metrics import METRICS
from harness.parameters import build_params

PACKAGE = Path(harness.__file__).parent


def from_elsewhere(kinds: Iterable[type]) -> dict[Path, str]:
    """Files of techniques or tasks that are not the harness's own, with their modules."""
    modules = {kind.__module__ for kind in kinds if not _is_ours(kind)}
    return {Path(str(sys.modules[name].__file__)): name for name in sorted(modules)}


def _is_ours(kind: type) -> bool:
    return kind.__module__.startswith("harness.")


PLUGIN_ADAPTERS = from_elsewhere([adapter_class(name) for name in adapter_names()])
PLUGIN_TASKS = from_elsewhere([task_class(name) for name in task_names()])
OUR_ADAPTERS = sorted(path for path in (PACKAGE / "adapters").glob("*/*.py") if path.name[0] != "_")
OUR_TASKS = sorted(path for path in (PACKAGE / "tasks").glob("*.py") if path.name[0] != "_")
ADAPTER_FILES = [*OUR_ADAPTERS, *PLUGIN_ADAPTERS]
TASK_FILES = [*OUR_TASKS, *PLUGIN_TASKS]
FILES = [*ADAPTER_FILES, *TASK_FILES]
HEAVY = ("torch", "transformers", "numpy", "pandas", "peft", "bitsandbytes", "tokenizers", "accelerate", "datasets")
KINDS = {"causal", "masked", "seq2seq", "classifier", "multiple_choice", "tokenizer", "blank", "none"}
PARTS = {"tokenizer", "model", "peft", "config", "reward", "reference", "runtime"}
VIEWS = {"text", "instructions", "choices", "labels", "text_to_text", "pairs"}

every_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
every_adapter = pytest.mark.parametrize("path", ADAPTER_FILES, ids=lambda path: path.stem)
every_task = pytest.mark.parametrize("path", TASK_FILES, ids=lambda path: path.stem)


def module_of(path: Path) -> str:
    elsewhere = PLUGIN_ADAPTERS.get(path) or PLUGIN_TASKS.get(path)
    return elsewhere or ".".join(("harness", *path.relative_to(PACKAGE).with_suffix("").parts))


def kind_in(path: Path) -> type:
    return load_task(module_of(path)) if path in TASK_FILES else load_adapter(module_of(path))


def test_the_files_are_what_the_catalogue_knows():
    assert len(FILES) >= 10
    assert {path.stem for path in OUR_ADAPTERS} == {n for n in adapter_names() if _is_ours(adapter_class(n))}
    assert {path.stem for path in OUR_TASKS} <= set(task_names())


@every_file
def test_one_class_that_says_what_it_is(path):
    kind = kind_in(path)
    tree = ast.parse(path.read_text())
    public = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name[0] != "_"]
    assert [node.name for node in public] == [kind.__name__]
    assert f"``{path.stem}``" in (ast.get_docstring(tree) or ""), "the module's docstring names the technique"
    assert kind.__doc__ and kind.__doc__.strip().splitlines()[0].endswith(".")
    assert kind.summary and "\n" not in kind.summary and len(kind.summary) < 90
    assert len(path.read_text().splitlines()) <= 200


@every_file
def test_public_methods_are_documented(path):
    for name, method in vars(kind_in(path)).items():
        if callable(method) and name[0] != "_" and not isinstance(method, type):
            assert method.__doc__, f"{name} has no docstring"


@every_file
def test_parameters_are_frozen_and_explained(path):
    kind = kind_in(path)
    assert dataclasses.is_dataclass(kind.Params)
    assert kind.Params.__dataclass_params__.frozen
    for item in dataclasses.fields(kind.Params):
        assert item.metadata.get("help"), f"{item.name} has no help"
    given = defaults(kind.Params)
    assert build_params(kind.Params, given, owner=path.stem) == kind.Params(), "the defaults keep their own bounds"
    assert json.loads(json.dumps(given)) == given, "parameters travel as JSON"


@every_file
def test_every_package_that_a_file_imports_is_in_requires(path):
    imported = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            imported.add((node.module or "").split(".")[0])
        elif isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
    foreign = imported - set(sys.stdlib_module_names) - {"harness"}
    # NumPy comes with torch, and only tasks touch its arrays.
    assert foreign - {"numpy"} <= set(kind_in(path).requires)


@every_file
def test_what_it_requires_is_installed(path):
    kind = kind_in(path)
    if getattr(kind, "environment", "main") == "main":
        assert missing_packages(kind.requires) == []


@every_file
def test_files_never_import_each_other(path):
    for node in ast.walk(ast.parse(path.read_text())):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        for name in names:
            assert not name.startswith(("harness.adapters", "harness.tasks", "harness.run", "harness.plan")), name


def test_reading_every_file_loads_no_heavy_package():
    modules = [module_of(path) for path in FILES]
    code = (
        f"import importlib, sys\nfor name in {modules!r}: importlib.import_module(name)\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@every_adapter
def test_an_adapter_says_where_its_technique_comes_from(path):
    kind = kind_in(path)
    assert issubclass(kind, Adapter)
    assert kind.source
    published = any(word in kind.source for word in ("arXiv", "19", "20", "http"))
    assert published or path.stem == "base"


@every_adapter
def test_an_adapter_does_something(path):
    kind = kind_in(path)
    assert kind.operations() or issubclass(kind, Modifier) or path.stem == "base"
    if kind.operations():
        assert kind.gives, "an operation makes at least one part"


@every_adapter
def test_a_technique_that_trains_shares_the_parameters_of_training(path):
    kind = kind_in(path)
    if "train" not in kind.operations():
        return
    converts = kind.gives == {"tokenizer"} and kind.view is None  # from one library's vocabulary to another's
    assert kind(kind.Params()).view in VIEWS or converts
    if "model" in kind.gives or "peft" in kind.gives:
        assert issubclass(kind.Params, TrainingParams)


@every_adapter
def test_an_adapter_uses_the_words_of_the_contract(path):
    kind = kind_in(path)
    assert set(kind.takes) <= PARTS and set(kind.gives) <= PARTS
    assert set(kind.kinds) <= KINDS and kind.kinds
    assert kind.makes_kind is None or kind.makes_kind in KINDS
    assert set(kind.precisions) <= set(PRECISIONS) and kind.precisions
    assert set(kind.devices) <= {"cpu", "cuda"} and kind.devices


@every_adapter
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_skip_gives_a_reason_or_nothing(path, precision, device):
    kind = kind_in(path)
    reason = kind(kind.Params()).skip(precision, Hardware(device=device))
    assert reason is None or (isinstance(reason, str) and reason and "\n" not in reason)


@every_adapter
def test_a_modifier_is_a_pure_function_that_changes_the_setup(path):
    kind = kind_in(path)
    if not issubclass(kind, Modifier):
        return
    setup = TrainingSetup(1e-3, "cosine", 0.1, "adamw", 0.0, 1.0, 10, 8, 8, 64, 2, "fp32")
    before = dataclasses.asdict(setup)
    modifier = kind(kind.Params())
    changed = modifier.modify(setup)
    assert dataclasses.asdict(setup) == before
    assert changed != setup, "with its defaults it must change something"
    assert modifier.modify(setup) == changed
    assert not kind.operations(), "the stage that it is added to trains"


@every_task
def test_a_task_declares_what_it_reports(path):
    kind = kind_in(path)
    assert issubclass(kind, Task)
    assert kind.metrics and set(kind.metrics) <= set(METRICS)
    assert set(kind.needs) <= PARTS and set(kind.kinds) <= KINDS
    assert kind.score is not Task.score
    assert kind(kind.Params()).view() in {None, *VIEWS}
