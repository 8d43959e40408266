"""`harness run --launcher`: what is planned for machines elsewhere, and the whole line over an engine."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from harness.cli.planning import plan_of
from harness.errors import UsageError
from harness.plan.job import jobs
from harness.plan.machine import Machine
from harness.plan.suite import load_text
from harness.results.record import blank
from harness.results.store import Store
from harness.run.engines import connect

SUITE = """
name: tiny
question: Does it run over an engine?
data: source
model: embedded
precision: fp32
hardware: [{device: cpu, threads: 1}, {device: cuda, devices: 2}]
method: [base, lora]
tasks: [perplexity(windows=4)]
budget: {steps: 3, batch_size: 2, sequence_length: 64, evaluations: 1}
"""


def record(job: Mapping[str, Any], installation: str, hard_id: str) -> dict[str, Any]:
    found = blank({**job, "attempt": 1}, "done")
    found["environment"] = {"installation": installation, "hard_id": hard_id, "hard": {"cores": 99}, "soft": {}}
    return found


def test_a_step_is_done_elsewhere_when_any_machine_has_measured_it(store: Store) -> None:
    """Here only what was measured on this kind of machine is."""
    suite = load_text(SUITE, file="tiny.yaml")
    elsewhere = Machine(cores=8, cuda_devices=4)
    planned = jobs(plan_of(suite, store, "fork"))
    (last,) = (job for job in planned if job["coordinates"]["method"] == "lora" and job["task"] and "state" not in job)
    store.write_record(record(last, store.installation, "0123456789abcdef"))
    here = {step.id: step.state for step in plan_of(suite, store, "fork").steps}
    there = {step.id: step.state for step in plan_of(suite, store, "fork", elsewhere=elsewhere).steps}
    assert (here[last["step"]], there[last["step"]]) == ("runnable", "done")
    assert sorted(there) == sorted(here)


def test_the_plan_is_made_for_the_machines_of_the_engine(store: Store) -> None:
    suite = load_text(SUITE, file="tiny.yaml")

    def on_gpus(machine: Machine) -> set[tuple[str, str | None]]:
        steps = plan_of(suite, store, "fork", elsewhere=machine).steps
        return {(step.state, step.reason) for step in steps if step.hardware.device == "cuda"}

    assert on_gpus(Machine(cores=8, cuda_devices=4)) == {("runnable", None)}
    assert on_gpus(Machine(cores=8, cuda_devices=1)) == {("skipped", "2 CUDA devices asked for, this machine has 1")}


@pytest.mark.parametrize(("name", "package"), [("ray", "ray"), ("slurm", "submitit")])
def test_a_missing_package_is_one_line(name: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UsageError, match=rf"needs a package: pip install 'llm-technique-harness\[{name}\]'"):
        connect(name, [])


def harness(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "harness", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def test_an_unknown_launcher_is_one_line_and_measures_nothing(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(SUITE)
    done = harness("run", "tiny.yaml", "--launcher", "rya", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.strip() == "harness: unknown launcher 'rya'; did you mean 'ray'?; known: local, ray, slurm"


@pytest.mark.slow
def test_the_whole_line_over_an_engine(tmp_path: Path) -> None:
    """Real steps by submitit's stand-in for Slurm; a second run, here or there, finds them done."""
    pytest.importorskip("submitit", reason="the package submitit is not installed: pip install -e '.[dev]'")
    (tmp_path / "tiny.yaml").write_text(SUITE.replace(", {device: cuda, devices: 2}", ""))
    options = ("--launcher", "slurm", "--launcher-option", "cluster=local", "--remeasure", "0")
    done = harness("run", "tiny.yaml", *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "tiny: 3 done" in done.stdout and (tmp_path / "reports" / "tiny" / "index.html").is_file()
    for again in (options, ("--remeasure", "0")):
        found = json.loads(harness("run", "tiny.yaml", *again, "--json", "--no-report", cwd=tmp_path).stdout)
        assert (found["statuses"], found["already_done"]) == ({}, 3)
