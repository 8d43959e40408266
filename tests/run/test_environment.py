"""Facts: what is hard, what is soft, and what never gets into a record."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys

import pytest

from harness.run import environment

CPU = {"device": "cpu", "devices": 1, "threads": 2, "ranks": 1}


def test_the_hard_id_changes_with_what_changes_a_measurement() -> None:
    plain = environment.hard_id(environment.plan_time_facts(CPU, "fork"))
    assert plain == environment.hard_id(environment.plan_time_facts(dict(CPU), "fork"))
    assert plain != environment.hard_id(environment.plan_time_facts(CPU, "spawn"))
    assert plain != environment.hard_id(environment.plan_time_facts(CPU | {"threads": 1}, "fork"))


def test_facts_known_only_later_do_not_change_the_hard_id() -> None:
    job = {"hardware": CPU, "isolation": "fork", "context": {"installation": "i"}}
    found = environment.environment_of(job, data_fingerprint="abc")
    assert found["hard"]["data_fingerprint"] == "abc"
    assert found["hard_id"] == environment.hard_id(environment.plan_time_facts(CPU, "fork"))


def test_a_step_sees_as_many_devices_as_it_asks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def visible(devices: int) -> str:
        return environment.thread_environment({"device": "cuda", "devices": devices})["CUDA_VISIBLE_DEVICES"]

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert (visible(1), visible(2)) == ("0", "0,1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3, GPU-5")
    assert (visible(1), visible(2)) == ("3", "3,GPU-5")


def test_zero_threads_mean_every_core_and_the_wait_is_passive() -> None:
    variables = environment.thread_environment({"device": "cpu", "threads": 0})
    assert variables["OMP_NUM_THREADS"] == str(len(os.sched_getaffinity(0)))
    assert (variables["OMP_WAIT_POLICY"], variables["GOMP_SPINCOUNT"]) == ("PASSIVE", "0")
    assert variables["CUDA_VISIBLE_DEVICES"] == ""


def test_no_fact_names_the_host_or_a_path() -> None:
    text = json.dumps(environment.environment_of({"hardware": CPU, "isolation": "fork"}))
    assert socket.gethostname() not in text
    assert "/" not in text.replace("a/b", "")


def test_library_versions_are_those_installed() -> None:
    from importlib.metadata import version

    assert environment.library_versions()["torch"] == version("torch")


def test_reading_the_facts_imports_nothing_heavy() -> None:
    code = (
        "import sys; from harness.run import environment as e, launcher; e.machine_facts(); "
        "e.hard_id(e.plan_time_facts({'device': 'cpu'}, 'fork')); "
        "print([m for m in ('torch', 'numpy', 'transformers', 'pandas', 'pydantic') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
