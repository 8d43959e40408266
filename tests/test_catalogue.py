from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from harness import catalogue
from harness.cli.listing import describe_all
from harness.contract import Adapter, Task
from harness.errors import UsageError

ROOT = Path(catalogue.__file__).parent


class Fake(Adapter):
    """A technique of this test."""


class FakeTask(Task):
    """A task of this test."""


class _Hidden(Adapter):
    """Not for users."""


@pytest.fixture(autouse=True)
def _fresh_catalogue(monkeypatch):
    monkeypatch.setattr(catalogue, "_registered", {})
    catalogue.forget()
    yield
    monkeypatch.undo()
    catalogue.forget()


def test_every_adapter_file_is_found_and_defines_one_technique():
    files = {path.stem for path in ROOT.glob("adapters/*/*.py") if path.stem[0] != "_"}
    assert files and files <= set(catalogue.adapter_names())
    for name in files:
        assert issubclass(catalogue.adapter_class(name), Adapter)
        assert (ROOT / "adapters" / catalogue.group_of(name) / f"{name}.py").is_file()


def test_every_task_file_is_found_and_defines_one_task():
    files = {path.stem for path in ROOT.glob("tasks/*.py") if path.stem[0] != "_"}
    assert files and files <= set(catalogue.task_names())
    assert all(issubclass(catalogue.task_class(name), Task) for name in files)


def test_unknown_names_are_answered_with_the_nearest():
    with pytest.raises(UsageError, match="unknown technique 'lorra'; did you mean 'lora'"):
        catalogue.adapter_class("lorra")
    with pytest.raises(UsageError, match="unknown task 'perplexty'; did you mean 'perplexity'"):
        catalogue.task_class("perplexty")


def test_what_is_listed_can_be_named():
    """A technique, a task or a whole group; nothing else, and nothing more."""
    def names(*wanted):
        found = describe_all(wanted)
        return [item["name"] for kind in ("techniques", "tasks") for item in found[kind]]

    assert names("lora") == ["lora"]
    assert names("perplexity", "int8") == ["int8", "perplexity"]
    files = sorted(path.stem for path in ROOT.glob("adapters/finetuning/*.py") if path.stem[0] != "_")
    assert names("finetuning") == files
    assert names("tasks") == list(catalogue.task_names())
    assert names() == [*catalogue.adapter_names(), *catalogue.task_names()]
    with pytest.raises(UsageError, match="unknown technique, task or group 'lorra'; did you mean 'lora'"):
        names("lora", "lorra")


def test_a_registered_technique_is_found_and_is_no_task():
    catalogue.register("fake", f"{__name__}:Fake")
    assert catalogue.adapter_class("fake") is Fake
    assert catalogue.group_of("fake") == "plugin"
    assert catalogue.module_of("fake") == f"{__name__}:Fake"
    assert "fake" in catalogue.adapter_names()
    assert "fake" not in catalogue.task_names()


TECHNIQUE = "from harness.contract import Adapter\n\n\nclass Own(Adapter):\n    pass\n"


def test_a_plugin_is_one_file_or_one_module(tmp_path, monkeypatch):
    """The file's folder gets on nobody's path: what lies beside it is not to be had."""
    (tmp_path / "own_file.py").write_text(TECHNIQUE)
    (tmp_path / "own_module.py").write_text(TECHNIQUE.replace("Adapter", "Task"))
    catalogue.plug_in(str(tmp_path / "own_file.py"))
    with pytest.raises(UsageError, match="no module 'own_module'"):
        catalogue.plug_in("own_module:Own")
    monkeypatch.syspath_prepend(str(tmp_path))
    catalogue.plug_in("own_module:Own")
    assert catalogue.adapter_class("own_file").__name__ == "Own" and "own_file" not in catalogue.task_names()
    assert catalogue.task_class("own_module").__name__ == "Own" and "own_module" not in catalogue.adapter_names()
    assert catalogue.adapter_module("own_file") == str(tmp_path / "own_file.py")
    text = (tmp_path / "own_file.py").read_bytes()
    assert catalogue.digest_of(catalogue.adapter_class("own_file")) == hashlib.sha256(text).hexdigest()
    assert catalogue.digest_of(catalogue.adapter_class("lora")) is None


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("lora.py", TECHNIQUE, "'lora' is the harness's own"),
        ("perplexity.py", TECHNIQUE, "'perplexity' is the harness's own"),
        ("no name.py", TECHNIQUE, "'no name' can be no name in a suite"),
        ("empty.py", "", "must define exactly one Adapter or one Task"),
        ("two.py", TECHNIQUE + "class Second(Own):\n    pass\n", "must define exactly one Adapter or one Task"),
        ("typo.py", "x = (", r"cannot be imported: SyntaxError: .*line 1"),
        ("broken.py", "import json\njson.loads('')\n", r"cannot be imported: JSONDecodeError: .*\(line 2\)$"),
        ("needs.py", "import no_such_package\n", r"cannot be imported: ModuleNotFoundError: .*\(line 1\)$"),
        ("gone.py", None, "there is no file"),
    ],
)
def test_a_plugin_that_is_none_is_one_line(tmp_path, name, text, told):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(UsageError, match=rf"--plugin .*{told}"):
        catalogue.plug_in(str(tmp_path / name))


def test_two_plugins_of_one_name_are_refused(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.py").write_text(TECHNIQUE)
    catalogue.plug_in(str(tmp_path / "a" / "mine.py"))
    catalogue.plug_in(str(tmp_path / "a" / "mine.py"))
    with pytest.raises(UsageError, match="'mine' is named twice"):
        catalogue.plug_in(str(tmp_path / "b" / "mine.py"))


def test_a_plugin_of_a_missing_module_is_one_clear_line():
    catalogue.register("gone", "no_such_package.technique")
    with pytest.raises(UsageError, match=r"no module 'no_such_package\.technique'"):
        catalogue.adapter_class("gone")


def test_a_module_without_a_technique_is_refused():
    catalogue.register("empty", "harness.errors")
    with pytest.raises(UsageError, match="must define exactly one Adapter, it defines: none"):
        catalogue.adapter_class("empty")


def test_entry_points_are_found(monkeypatch):
    class Point:
        name, value = "installed", f"{__name__}:Fake"

    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: [Point] if group == "harness.adapters" else [])
    catalogue._entry_points.cache_clear()
    assert catalogue.adapter_class("installed") is Fake
    assert "installed" in catalogue.adapter_names()
    catalogue._entry_points.cache_clear()


def test_missing_packages_say_how_to_get_them():
    assert catalogue.missing_packages(("json", "typing")) == []
    assert catalogue.missing_packages(("auto_gptq_missing",)) == [
        "package 'auto_gptq_missing' is not installed (pip install auto_gptq_missing)"
    ]


def test_missing_packages_know_names_that_differ_from_the_import(monkeypatch):
    monkeypatch.setattr(catalogue, "_installed", lambda name: False)
    assert catalogue.missing_packages(["auto_gptq"]) == ["package 'auto_gptq' is not installed (pip install auto-gptq)"]
