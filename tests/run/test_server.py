"""The preloaded server for real: torch is imported once, workers forked from it compute, alike to fresh ones."""

from __future__ import annotations

import importlib
import importlib.util
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.results.store import Store
from harness.run import launcher, operation, probe, server
from harness.run.environment import thread_environment
from harness.run.service import ServerGone, Service

pytestmark = pytest.mark.quiet

MIB = 2**20
MULTIPLY = {"name": "multiply", "module": "fakes.multiply"}


def multiply(job: Callable[..., dict[str, Any]], step: str, **params: Any) -> dict[str, Any]:
    return job(step, adapter=MULTIPLY | {"params": {"size": 256, "block_bytes": 0} | params})


def by_step(store: Store) -> dict[str, dict[str, Any]]:
    return {record["step"]: record for record in store.records("fakes").records}


@pytest.mark.slow
def test_forked_workers_compute_and_do_not_hang(store: Store, job: Callable[..., dict[str, Any]]) -> None:
    jobs = [multiply(job, name) for name in "abc"]
    outcome = launcher.run(jobs, store, preload=("torch",), canary=True)
    assert outcome.statuses == {"done": 3}
    assert outcome.canaries == ["done", "done"]
    found = by_step(store)
    assert [found[name]["observed"]["trace"] for name in "abc"] == [1024.0] * 3
    assert {found[name]["observed"]["threads"] for name in "abc"} == {1}
    imports = [span["seconds"] for name in "abc" for span in found[name]["spans"] if span["name"] == "import"]
    assert max(imports) < 1.0
    canaries = [record for record in found.values() if record["operation"] == "canary"]
    assert len(canaries) == 1
    assert canaries[0]["metrics"]["canary_matmul_seconds"] > 0


@pytest.mark.slow
def test_both_isolation_modes_agree_on_the_memory_of_the_work(
    tmp_path: Path, job: Callable[..., dict[str, Any]]
) -> None:
    rises, runtimes = {}, {}
    for isolation in launcher.ISOLATION_MODES:
        store = Store(tmp_path / isolation)
        work = multiply(job, "a", size=512, block_bytes=48 * MIB)
        launcher.run([work], store, isolation=isolation, preload=("torch",), canary=False)
        metrics = by_step(store)["a"]["metrics"]
        rises[isolation], runtimes[isolation] = metrics["peak_memory_rise_bytes"], metrics["runtime_memory_bytes"]
    assert rises["fork"] == pytest.approx(rises["spawn"], rel=0.1)
    # Library pages that a fork does not copy would be missing here, and count as work once the work touches them.
    assert runtimes["fork"] == pytest.approx(runtimes["spawn"], rel=0.1)
    assert min(rises.values()) >= 48 * MIB


def test_a_missing_library_is_left_out(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    service = Service(sys.executable, ("json", "no_such_library"), thread_environment({}), log)
    try:
        assert service.preloaded == ["json"]
    finally:
        service.close()
    assert "no_such_library" in log.read_text()


def test_a_server_that_died_is_said_and_ends_with_its_launcher(tmp_path: Path) -> None:
    service = Service(sys.executable, (), thread_environment({}), tmp_path / "log")
    service.close()
    assert not service.alive()
    with pytest.raises((ServerGone, ValueError)):
        service.start(tmp_path / "job.json", "fork")


GREEDY = """
import os, sys
from types import SimpleNamespace
server = os.getpid()
cuda = SimpleNamespace(is_initialized=lambda: {initialised}, _is_in_bad_fork=lambda: {spoilt} and os.getpid() != server)
sys.modules["torch"] = SimpleNamespace(cuda=cuda)
"""


@pytest.fixture
def gpu_library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """``opens_gpu``, in place of what really opens one, and ``asks_for_it``, which imports it where it is there."""
    (tmp_path / "opens_gpu.py").write_text("")
    asks = "try:\n    import opens_gpu\nexcept ImportError:\n    opens_gpu = None\n"
    (tmp_path / "asks_for_it.py").write_text(asks)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(server, "OPEN_A_GPU", ("opens_gpu",))
    monkeypatch.setattr(server, "PRELOAD", ("asks_for_it", "opens_gpu", "not_there_at_all"))
    for name in ("opens_gpu", "asks_for_it"):
        monkeypatch.delitem(sys.modules, name, raising=False)


@pytest.mark.parametrize(("visible", "there"), [("0", False), (None, False), ("", True)])
def test_where_a_gpu_can_be_seen_nobody_imports_what_opens_it(
    gpu_library: None, monkeypatch: pytest.MonkeyPatch, visible: str | None, there: bool
) -> None:
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    probe.libraries()
    assert "asks_for_it" in sys.modules and ("opens_gpu" in sys.modules) is there
    with server.gpu_unopened():
        assert importlib.util.find_spec("opens_gpu") is not None, "who asks may remember the answer"
    assert importlib.import_module("opens_gpu")


@pytest.mark.parametrize(
    ("device", "measures_training", "there"), [("cuda", True, False), ("cuda", False, True), ("cpu", True, True)]
)
def test_a_step_whose_training_is_forked_leaves_the_gpu_to_the_fork(
    gpu_library: None, monkeypatch: pytest.MonkeyPatch, device: str, measures_training: bool, there: bool
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    built = {
        "adapter": SimpleNamespace(requires=("asks_for_it", "opens_gpu")),
        "task": SimpleNamespace(requires=("json",), measures_training=measures_training),
    }
    monkeypatch.setattr(operation, "_built", lambda _, spec: built[spec])
    job = {"operation": "eval", "adapter": "adapter", "task": "task", "hardware": {"device": device},
           "model": {"kind": "none"}}  # fmt: skip
    operation._plugins(job)
    assert "asks_for_it" in sys.modules and ("opens_gpu" in sys.modules) is there


@pytest.mark.parametrize(("initialised", "spoilt"), [(True, False), (False, True)])
def test_a_server_whose_libraries_opened_a_gpu_says_so_and_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, initialised: bool, spoilt: bool
) -> None:
    (tmp_path / "greedy.py").write_text(GREEDY.format(initialised=initialised, spoilt=spoilt))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    log = tmp_path / "server.log"
    with pytest.raises(ServerGone, match=r"server imported opened a GPU.*use --isolation spawn"):
        Service(sys.executable, ("greedy",), thread_environment({}) | {"CUDA_VISIBLE_DEVICES": "0"}, log)
    service = Service(sys.executable, ("greedy",), thread_environment({}), log)
    service.close()
    assert service.preloaded == ["greedy"], "where no GPU can be seen none was opened"


FOUR_BITS = """
    import os, sys, tempfile
    from harness.run import probe, server
    probe.libraries()
    assert "peft" in sys.modules and "bitsandbytes" not in sys.modules and not server.gpu_is_open()
    if (child := os.fork()):
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig, LlamaConfig, LlamaForCausalLM
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 1, "num_attention_heads": 4}
    with tempfile.TemporaryDirectory() as folder:
        LlamaForCausalLM(LlamaConfig(vocab_size=64, **sizes)).save_pretrained(folder)
        for options in ({"load_in_8bit": True}, {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}):
            model = AutoModelForCausalLM.from_pretrained(
                folder, quantization_config=BitsAndBytesConfig(**options), device_map={"": "cpu"}
            )
            model = get_peft_model(model, LoraConfig(r=2, target_modules=["up_proj"]))
            layer = model.base_model.model.model.layers[0].mlp.up_proj
            assert type(layer).__module__ == "peft.tuners.lora.bnb", type(layer)
            ids = torch.ones(1, 4, dtype=torch.long)
            model(input_ids=ids, labels=ids).loss.backward()
            assert layer.lora_B["default"].weight.grad.abs().sum() > 0
    os._exit(0)
"""


@pytest.mark.slow
def test_a_fork_of_a_process_without_bitsandbytes_trains_over_its_layers() -> None:
    """No library may remember that it was not there when they were imported."""
    variables = thread_environment({}) | {"CUDA_VISIBLE_DEVICES": "0"}
    command = [sys.executable, "-c", textwrap.dedent(FOUR_BITS)]
    ran = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=300, check=False)
    assert ran.returncode == 0, ran.stderr
