"""What the README shows is run: the suite loads, the technique trains, its test passes, all commands are shown.

Its links and the options of its commands are tested with those of docs, in tests/docs.
"""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path

import pytest

from harness import catalogue

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()


def block(language: str, number: int = 0) -> str:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)[number]


@pytest.fixture
def bitfit(monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.setattr(catalogue, "_registered", {})
    module = types.ModuleType("readme_bitfit")
    sys.modules["readme_bitfit"] = module
    exec(compile(block("python"), "README.md", "exec"), module.__dict__)
    catalogue.register("bitfit", "readme_bitfit")
    yield module
    monkeypatch.undo()
    catalogue.forget()
    del sys.modules["readme_bitfit"]


def test_the_technique_of_the_readme_keeps_its_promise(bitfit, run, llama, open_live) -> None:
    names: dict = {}
    exec(compile(block("python", 1), "README.md", "exec"), names)
    names["test_only_vectors_learn"](run, llama, open_live)


def test_the_suite_of_the_readme_plans() -> None:
    from harness.plan.plan import plan
    from harness.plan.suite import load_text

    found = plan(load_text(block("yaml"), folder=ROOT / "suites"))
    assert {cell.method for cell in found.cells} >= {"base", "int8", "lora(rank=4)", "lora(rank=16) > int8"}
    assert all(cell.precision != "fp32" for cell in found.cells if "lora" in cell.method)


def test_the_commands_of_the_readme_exist() -> None:
    import typer

    from harness.cli.commands import app

    known = set(typer.main.get_command(app).commands)
    named = set(re.findall(r"^harness (\w+)", block("sh", 1), re.MULTILINE))
    assert named == known


@pytest.mark.parametrize("name", sorted(file.stem for file in (ROOT / "suites").glob("*.yaml")))
def test_every_shipped_suite_loads(name: str, shipped_suite) -> None:
    from harness.plan.suite import load

    assert load(shipped_suite(name)).question
