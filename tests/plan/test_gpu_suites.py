"""The suites for one large GPU, planned for machines that have it, that have less, and that have none."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from harness import catalogue, environments
from harness.plan.machine import Machine
from harness.plan.memory import Doubts
from harness.plan.plan import Plan, plan
from harness.plan.steps import RUNNABLE
from harness.plan.suite import load

SUITES = Path(__file__).parents[2] / "suites"
GIBIBYTE = 2**30
LACKING = ("needs the environment", "is not installed", "CUDA devices asked for")


def machine(gigabytes: float = 141, devices: int = 1) -> Machine:
    return Machine(cores=16, cuda_devices=devices, memory_bytes=128 * GIBIBYTE, cuda_memory_bytes=gigabytes * 1e9)


def planned(name: str, on: Machine) -> Plan:
    return plan(load(SUITES / f"{name}.yaml"), machine=on)


@pytest.mark.parametrize("name", ["gpu_quick", "gpu_8b"])
def test_nothing_is_skipped_on_one_gpu_but_for_want_of_software_or_a_second_one(name):
    reasons = {step.reason for step in planned(name, machine()).steps if step.state != RUNNABLE}
    assert [reason for reason in reasons if not any(word in str(reason) for word in LACKING)] == []


@pytest.mark.parametrize("on", [machine(), machine(devices=2), Machine(2, 0)], ids=["one", "two", "none"])
@pytest.mark.parametrize("name", ["gpu_quick", "gpu_8b"])
def test_no_model_is_trained_on_the_cpu(name, on):
    """A cell there, such as llama.cpp's, takes the model that was trained on the GPU."""
    learning = [step for step in planned(name, on).steps if step.operation == "train" and step.stage.learns]
    assert learning and {step.hardware.device for step in learning} == {"cuda"}


@pytest.mark.parametrize("name", ["gpu_quick", "gpu_8b"])
def test_kernels_and_checkpointing_are_timed_on_full_blocks(name):
    """Instructions are short: a budget's sequence length says nothing of a training on them."""
    timed = [step for step in planned(name, machine()).steps if step.operation == "train"]
    found = {(step.stage.call.name, step.stage.call.adapter.view) for step in timed
             if {call.name for call in step.stage.modifiers} & {"flash_attention", "gradient_checkpointing"}}
    assert found == {("clm", "text")}


def test_every_technique_is_in_the_quick_one():
    text = (SUITES / "gpu_quick.yaml").read_text().split("\nsweeps:")[1]
    shipped = {name for name in catalogue.adapter_names() if catalogue.adapter_module(name).startswith("harness.")}
    assert len(shipped) > 30 and shipped - set(re.findall(r"\w+", text)) == set()


@pytest.mark.parametrize("name", ["gpu_quick", "gpu_8b"])
def test_without_a_gpu_every_step_on_one_is_skipped_and_says_so(name):
    steps = [step for step in planned(name, Machine(2, 0)).steps if step.hardware.device == "cuda"]
    assert steps and {step.state for step in steps} == {"skipped"}
    assert {step.reason for step in steps} == {"no CUDA device on this machine"}


@pytest.mark.parametrize(("name", "stages"), [("gpu_quick", "123"), ("gpu_8b", "23")])
def test_two_gpus_train_by_zero(name, stages):
    steps = [step for step in planned(name, machine(devices=2)).steps if "zero" in step.method.text]
    assert {step.state for step in steps} == {RUNNABLE}
    shown = {re.search(r"zero(?:\(stage=(\d)\))?", step.method.text).group(1) or "2" for step in steps}
    assert shown == set(stages)
    assert {step.hardware.devices for step in steps} == {step.hardware.ranks for step in steps} == {2}


@pytest.mark.parametrize("name", ["gpu_quick", "gpu_8b"])
def test_on_two_gpus_with_every_environment_only_packages_are_lacking(name):
    """A reason that hides behind a missing environment or a second GPU would leave a step out for ever."""
    on = replace(machine(devices=2), environments=frozenset({environments.MAIN, *environments.names()}))
    reasons = {step.reason for step in planned(name, on).steps if step.state != RUNNABLE}
    assert [reason for reason in reasons if "is not installed" not in str(reason)] == []


@pytest.mark.parametrize("name", ["gpu_quick", "gpu_8b"])
def test_its_head_says_how_many_cells_how_long_and_by_which_commands(name):
    head = (SUITES / f"{name}.yaml").read_text().split("\nname:")[0]
    assert f"{len(planned(name, machine()).cells)} cells" in head and "minutes" in head
    assert f"harness plan {name}" in head and f"harness run {name}" in head


@pytest.mark.parametrize(
    ("gigabytes", "doubted"),
    [
        (141, set()),
        (85, set()),
        (81, {"full_finetune", "clm"}),
        (48, {"full_finetune", "clm", "clm + gradient_checkpointing", "qlora"}),
        (35, {"full_finetune", "clm", "clm + gradient_checkpointing", "qlora", "lora",
              "lora(target_modules=all-linear)", "clm + flash_attention(kernel=eager)"}),
    ],
)  # fmt: skip
def test_what_will_not_fit_is_told_beforehand(gigabytes, doubted):
    on = machine(gigabytes)
    steps = planned("gpu_8b", on).steps
    found = Doubts(on).of(steps)
    told = {step.method.text for step in steps if step.id in found and step.operation == "train"}
    assert {_as_written(text) for text in told} == doubted


def _as_written(method):
    """A method without the parameters that the suite gives apart."""
    return re.sub(r"\(learning_rate=[\d.]+(?:, optimizer=adamw)?(?:, )?", "(", method).replace("()", "")


def test_eight_billion_by_arithmetic():
    """In 16 bits weights, gradients and two moments are 8 bytes a parameter, and AdamW's step needs 2 more at once."""
    doubts, weights = Doubts(machine()), 8_030_261_248
    steps = [step for step in planned("gpu_8b", machine()).steps if step.task and step.task.name == "training_memory"]
    sizes = {step.method.text: float(doubts.bytes_of(step) or 0) for step in steps}
    full = next(size for text, size in sizes.items() if text.startswith("clm") and "checkpointing" in text)
    assert full == pytest.approx(10 * weights, rel=0.005)
    qlora = next(size for text, size in sizes.items() if text.startswith("qlora") and "checkpointing" in text)
    matrices, rest = 6_979_321_856, 1_050_939_392  # the blocks' matrices; embeddings, head and norms
    assert qlora > 0.5 * matrices + 4 * rest
    assert qlora < 20e9
