"""The GPU suites plan everywhere: without a GPU every step says what is missing, with two of them it is to run."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.plan.machine import Machine
from harness.plan.plan import plan
from harness.plan.steps import RUNNABLE, SKIPPED
from harness.plan.suite import load

ROOT = Path(__file__).resolve().parents[2]
SUITES = sorted((ROOT / "suites" / "cuda").glob("*.yaml"))


@pytest.mark.parametrize("suite", SUITES, ids=lambda path: path.stem)
def test_without_a_gpu_every_step_says_so(suite: Path) -> None:
    steps = plan(load(suite), machine=Machine(cores=2, cuda_devices=0)).steps
    assert steps and all(step.state == SKIPPED for step in steps)
    assert {step.reason for step in steps} <= {"no CUDA device on this machine"} | {
        f"{count} CUDA devices asked for, this machine has 0" for count in (2,)
    }


@pytest.mark.parametrize("suite", SUITES, ids=lambda path: path.stem)
def test_with_gpus_everything_is_to_run_but_what_a_missing_package_gives(suite: Path) -> None:
    steps = plan(load(suite), machine=Machine(cores=16, cuda_devices=2)).steps
    reasons = {step.reason for step in steps if step.state != RUNNABLE}
    assert all("flash-attn" in str(reason) for reason in reasons), reasons
    assert any(step.state == RUNNABLE for step in steps)


def test_each_question_about_training_has_its_gpu_suite() -> None:
    names = {path.stem for path in SUITES}
    assert names == {"finetuning", "lora", "efficiency", "attention", "zero", "frontier"}
    assert names <= {path.stem for path in (ROOT / "suites").glob("*.yaml")}
    assert all(load(path).name == f"{path.stem}_cuda" for path in SUITES)
