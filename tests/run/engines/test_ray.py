"""Several Ray nodes on one machine, with pretended GPUs: spread over all, never two on one, and one of them killed."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.errors import UsageError
from harness.results.store import Store
from harness.run import events
from harness.run.engines import connect
from harness.run.scatter import scatter

pytestmark = pytest.mark.quiet

pytest.importorskip("ray", reason="the package ray is not installed: pip install -e '.[dev]'")

Jobs = Callable[..., dict[str, Any]]
FAKES = Path(__file__).parents[2]
# Ray learns of a dead node within a second, not within a minute.
QUICK = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 300, "health_check_failure_threshold": 2}
GPUS = {"one": 0, "two": 1, "three": 2}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head that measures nothing, and three nodes with two CPUs each, none, one and two GPUs, and the token."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PYTHONPATH", str(FAKES))
        patched.setenv("RAY_worker_niceness", "0")
        patched.setenv("RAY_memory_monitor_refresh_ms", "0")
        from ray.cluster_utils import Cluster

        made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "_system_config": QUICK})
        made.nodes = {name: _node(made, name) for name in GPUS}
        yield made
        made.shutdown()


def _node(cluster: Any, name: str) -> Any:
    return cluster.add_node(
        num_cpus=2, num_gpus=GPUS[name], resources={"measuring": 1}, env_vars={"HARNESS_TEST_NODE": name}, wait=True
    )


@pytest.fixture(scope="module")
def connection(cluster: Any) -> Iterator[Any]:
    """One connection for all tests; the pretended nodes do not take turns on the machine that they share."""
    found = connect("ray", [f"address={cluster.address}", "turns=false"])
    assert found is not None
    yield found
    found.close()


@pytest.fixture
def engine(cluster: Any, connection: Any) -> Any:
    """Connected to three nodes, whatever an earlier test has killed."""
    for name in GPUS.keys() - cluster.nodes.keys():
        cluster.nodes[name] = _node(cluster, name)
    return connection


def seen(job: Jobs, step: str, gpus: int = 0, **more: Any) -> dict[str, Any]:
    hardware = {"device": "cuda" if gpus else "cpu", "devices": gpus or 1, "threads": 1, "ranks": 1}
    adapter = {"name": "seen", "module": "fakes.seen", "params": {"slow_node": "one"}}
    return job(step, adapter=adapter, hardware=hardware, **more)


@pytest.mark.slow
def test_three_nodes_one_of_them_killed(store: Store, job: Jobs, eval_job: Jobs, cluster: Any, engine: Any) -> None:
    """24 steps; the node without GPUs dies in the middle of one, and everything ends and adds up."""
    jobs = [
        *(seen(job, f"cpu{number}") for number in range(12)),
        *(seen(job, f"gpu{number}", 1) for number in range(4)),
        *(seen(job, f"both{number}", 2) for number in range(2)),
        *(eval_job(f"eval{number}", input=f"cpu{number}") for number in range(6)),
    ]
    finished: list[str] = []
    lost: list[str] = []

    def kill(event: events.Event) -> None:
        if isinstance(event, events.Lost):
            lost.append(event.job["step"])
        if isinstance(event, events.StepFinished):
            finished.append(event.job["step"])
            if len(finished) == 6:
                _await_a_step_on(store, "one")
                cluster.nodes["one"].kill_raylet()
                cluster.remove_node(cluster.nodes.pop("one"), allow_graceful=False)

    machine = engine.machine()
    assert (machine.cores, machine.cuda_devices) == (2, 2)
    outcome = scatter(jobs, store, engine, preload=(), isolation="spawn", on_event=kill)
    reasons = [(one["record"], one["reason"]) for one in store.records("fakes").records if one["status"] != "done"]
    assert (dict(outcome.statuses), outcome.exit_code) == ({"done": 24}, 0), reasons
    assert sorted(finished) == sorted(one["step"] for one in jobs)
    found = store.records("fakes")
    assert not found.quarantined
    done = [record for record in found.records if record["status"] == "done"]
    again = [record for record in found.records if record["status"] != "done"]
    assert len(done) == 24 and len({record["step"] for record in done}) == 24
    assert lost and sorted(lost) == sorted(record["step"] for record in again)
    assert {(record["status"], record["attempt"]) for record in again} == {("interrupted", 1)}
    assert {record["attempt"] for record in done if record["step"] in lost} == {2}
    told = [record["observed"]["seen"] | {"step": record["step"]} for record in done if "seen" in record["observed"]]
    by_node = {name: sorted((one["began"], one["ended"]) for one in told if one["node"] == name) for name in GPUS}
    assert by_node["two"] and by_node["three"], "both nodes that live had steps"
    for spans in by_node.values():
        assert all(earlier[1] <= later[0] for earlier, later in itertools.pairwise(spans))
    assert _overlap(by_node), "nodes worked at the same time"
    for one in told:
        devices = [name for name in (one["devices"] or "").split(",") if name]
        wanted = 1 if one["step"].startswith("gpu") else 2 if one["step"].startswith("both") else 0
        assert len(devices) == wanted and GPUS[one["node"]] >= wanted


def _await_a_step_on(store: Store, name: str) -> None:
    """Block until a step has begun on a node and has not ended: there it takes long enough to be caught."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for log in (store.cache / "jobs").glob("*.log"):
            record = store.record_path("fakes", *log.stem.split("."))  # type: ignore[arg-type]
            if f"on node {name}" in log.read_text() and not record.exists():
                return
        time.sleep(0.02)


def _overlap(by_node: dict[str, list[tuple[float, float]]]) -> bool:
    spans = [(*span, node) for node, found in by_node.items() for span in found]
    return any(a[2] != b[2] and a[0] < b[1] and b[0] < a[1] for a in spans for b in spans)


def test_what_no_node_can_run_is_skipped(store: Store, job: Jobs, engine: Any) -> None:
    outcome = scatter([seen(job, "a", 3)], store, engine, preload=(), isolation="spawn")
    (record,) = store.records("fakes").records
    assert (record["status"], record["reason"]) == ("skipped", "no node of the Ray cluster has 1 CPUs and 3 GPUs")
    assert outcome.exit_code == 0


@pytest.mark.slow
def test_torchrun_works_on_a_node(store: Store, job: Jobs, engine: Any) -> None:
    two = {"device": "cpu", "devices": 1, "threads": 2, "ranks": 2}
    jobs = [job("a", "rank_steps", hardware=two), job("b", "rank_crash", hardware=two)]
    scatter(jobs, store, engine, preload=(), isolation="spawn")
    records = {record["step"]: record for record in store.records("fakes").records}
    assert records["a"]["status"] == "done", records["a"]["reason"]
    assert [one["rank"] for one in records["a"]["observed"]["ranks"]] == [0, 1]
    assert records["b"]["reason"] == "rank 1 of 2 failed: ValueError: the second rank has a bug"


@pytest.mark.slow
def test_a_stopped_sweep_records_what_had_begun(store: Store, job: Jobs, cluster: Any) -> None:
    script = textwrap.dedent("""
        import json, sys
        from harness.results.store import Store
        from harness.run.engines import connect
        from harness.run.scatter import scatter
        engine = connect("ray", ["turns=false", "address=" + sys.argv[3]])
        outcome = scatter(json.loads(sys.argv[2]), Store(sys.argv[1]), engine, preload=(), isolation="spawn")
        sys.exit(outcome.exit_code)
    """)
    jobs = json.dumps([job(name, "hang") for name in "abcdef"])
    child = subprocess.Popen([sys.executable, "-c", script, str(store.root), jobs, cluster.address])
    deadline = time.monotonic() + 60
    folder = store.cache / "jobs"
    while time.monotonic() < deadline and sum("half" in log.read_text() for log in folder.glob("?.1.log")) < 2:
        time.sleep(0.1)
    child.send_signal(signal.SIGINT)
    assert child.wait(timeout=60) == 130
    found = store.records("fakes").records
    assert {record["status"] for record in found} == {"interrupted"} and 2 <= len(found) <= 3
    assert not list((store.cache / "claims").glob("*.json"))


def test_a_folder_that_nodes_do_not_see_is_one_line(
    tmp_path: Path, engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The probe is taken away before the nodes look, which is what another file system is to them."""
    monkeypatch.setattr("harness.run.engines.ray.write_file", lambda path, text: None)
    monkeypatch.setattr("harness.run.engines.ray.look", _blind)
    with pytest.raises(UsageError, match=r"does not see .*results; give --results a folder that every machine has"):
        engine.check(tmp_path / "results" / ".cache")


def _blind(probe: str) -> dict[str, Any]:
    return {"text": None, "harness": [], "niceness": 0}


def test_nodes_without_the_token_are_told_how_to_start(
    engine: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    real = engine._ray.nodes()
    bare = [node | {"Resources": {"CPU": 2.0}} for node in real]
    monkeypatch.setattr(engine._ray, "nodes", lambda: bare)
    with pytest.raises(UsageError, match=r"""start each with .*ray start --resources='{"measuring": 1}'"""):
        engine.check(tmp_path)
    monkeypatch.setattr(engine._ray, "nodes", lambda: [bare[0] | {"Resources": {"CPU": 2.0, "measuring": 2.0}}])
    with pytest.raises(UsageError, match="has 2 of 'measuring': it must be 1"):
        engine.check(tmp_path)


def test_no_cluster_is_one_line(cluster: Any) -> None:
    code = "from harness.run.engines import connect\nconnect('ray', ['address=127.0.0.1:1'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ})
    assert "UsageError: no Ray cluster at '127.0.0.1:1'" in done.stderr.splitlines()[-1]
