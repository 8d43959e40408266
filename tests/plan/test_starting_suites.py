"""The suites that users begin with plan without a network, and their heads say what they ask, take and need."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest

from harness.plan.machine import Machine
from harness.plan.plan import Plan, plan
from harness.plan.steps import RUNNABLE, SKIPPED
from harness.plan.suite import load

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("align_small", "bert_classification", "four_bit_showdown", "gpt2_cpu", "llama_lora_vs_qlora", "serving")
REASONS = re.compile(r"needs the environment '\w+'|^no CUDA device on this machine$|package")


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A suite, where nothing can be reached."""

    def refuse(*args: object, **named: object) -> None:
        raise AssertionError("a plan asked the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    return str(request.param)


def planned(name: str, **machine: int) -> Plan:
    return plan(load(ROOT / "suites" / f"{name}.yaml"), machine=Machine(**{"cores": 2, "cuda_devices": 0} | machine))


def head(name: str) -> str:
    text = (ROOT / "suites" / f"{name}.yaml").read_text()
    return "\n".join(line.lstrip("# ") for line in text.split("\nname:")[0].splitlines()[1:])


def test_every_cell_is_to_run_or_says_why_not(name: str) -> None:
    found = planned(name)
    assert found.cells and any(step.state == RUNNABLE for step in found.steps)
    for step in found.steps:
        assert step.state == RUNNABLE or (step.state == SKIPPED and REASONS.search(str(step.reason))), step.reason


def test_with_a_gpu_only_environments_are_missing(name: str) -> None:
    reasons = {str(step.reason) for step in planned(name, cuda_devices=1, cores=16).steps if step.state != RUNNABLE}
    assert all("needs the environment" in reason for reason in reasons), reasons


def test_its_head_says_how_many_cells_how_long_and_by_which_commands(name: str) -> None:
    said = head(name)
    assert re.search(r"(\d+) cells", said).group(1) == str(len(planned(name).cells))  # type: ignore[union-attr]
    assert re.search(r"\b(minutes|hours?)\b", said)
    assert f"harness plan {name}" in said and f"harness run {name}" in said
    assert ("harness prepare" in said) == ("hub:" in (ROOT / "suites" / f"{name}.yaml").read_text().split("\nname:")[1])


def test_what_it_needs_is_named_in_its_head(name: str) -> None:
    synced = set(re.findall(r"harness env sync ([\w ]+)", head(name)))
    known = {word for words in synced for word in words.split()}
    needed = {step.stage.call.kind.environment for step in planned(name).steps} - {"main"}
    assert needed <= known


def test_its_commands_exist(name: str) -> None:
    import typer

    from harness.cli.commands import app

    known = set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
    assert set(re.findall(r"harness (\w+)", head(name))) <= known


def test_models_of_the_hub_name_a_revision(name: str) -> None:
    for cell in planned(name).cells:
        assert not cell.model.startswith("hub:") or re.fullmatch(r"hub:[\w-]+/[\w.-]+@[\w.-]+", cell.model)
