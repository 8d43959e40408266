"""The preloaded server for real: torch is imported once, workers forked from it compute, alike to fresh ones."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.results.store import Store
from harness.run import launcher
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
