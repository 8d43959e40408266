"""The launcher over an engine whose machines are processes here: every step once, in order, whatever burns down."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.errors import StoreError, UsageError
from harness.results.record import read
from harness.results.store import Store
from harness.run import events, launcher, node
from harness.run.engines import Ended, connect, demand_of, ended
from harness.run.scatter import scatter

Jobs = Callable[..., dict[str, Any]]


@pytest.fixture
def machines() -> Any:
    from fakes.machines import Machines

    return Machines


Swept = tuple[events.Outcome, dict[str, list[Any]]]


def swept(store: Store, engine: Any, *jobs: dict[str, Any], **options: Any) -> Swept:
    """The outcome, and the records of each step by attempt."""
    outcome = scatter(jobs, store, engine, preload=(), isolation="spawn", **options)
    found = store.records("fakes")
    assert not found.quarantined
    records: dict[str, list[Any]] = {}
    for record in sorted(found.records, key=lambda record: record["attempt"]):
        records.setdefault(record["step"], []).append(record)
    return outcome, records


def claims(store: Store) -> list[str]:
    return [path.name for path in (store.cache / "claims").glob("*.json")]


def test_steps_end_as_they_do_here(
    store: Store, job: Jobs, eval_job: Jobs, tmp_path: Path, machines: Any
) -> None:
    """The same jobs by the launcher of this machine are the second way."""
    jobs = [
        job("a"), job("b", "crash"), eval_job("c", input="a", keeps_artefact=True), eval_job("d", input="b"),
        eval_job("e", input="a", reference="c"), job("f", state="skipped", reason="no such device"),
        job("g", state="done"),
    ]  # fmt: skip
    engine = machines(2)
    outcome, records = swept(store, engine, *jobs)
    other = Store(tmp_path / "here")
    wanted = launcher.run(jobs, other, preload=(), isolation="spawn", canary=False)
    assert (outcome.statuses, outcome.already, outcome.exit_code) == (wanted.statuses, wanted.already, wanted.exit_code)
    for record in other.records("fakes").records:
        (found,) = records[record["step"]]
        assert (found["status"], found["reason"]) == (record["status"], record["reason"])
        assert found["observed"].keys() == record["observed"].keys()
    assert engine.most_at_once == 2
    assert engine.handed_out.index("e") > engine.handed_out.index("c") > engine.handed_out.index("a")
    assert not {"d", "f", "g"} & set(engine.handed_out)
    assert not claims(store)


def test_a_step_whose_machine_burns_down_runs_again_once(store: Store, job: Jobs, machines: Any) -> None:
    told: list[events.Event] = []
    engine = machines(1, lose=lambda job: job["step"] == "a" and job["attempt"] == 1)
    outcome, records = swept(store, engine, job("a"), job("b"), on_event=told.append)
    assert [record["status"] for record in records["a"]] == ["interrupted", "done"]
    assert records["a"][0]["reason"] == "its machine was lost: it burnt down; it runs again on another"
    assert (dict(outcome.statuses), outcome.exit_code) == ({"done": 2}, 0)
    assert [event.job["step"] for event in told if isinstance(event, events.Lost)] == ["a"]
    assert [event.index for event in told if isinstance(event, events.StepFinished)] == [1, 2]


def test_one_that_burns_down_twice_has_crashed(store: Store, job: Jobs, eval_job: Jobs, machines: Any) -> None:
    engine = machines(1, lose=lambda job: job["step"] == "a")
    outcome, records = swept(store, engine, job("a"), eval_job("b", input="a"))
    assert [record["status"] for record in records["a"]] == ["interrupted", "crashed"]
    assert records["a"][1]["reason"] == "its machine was lost twice: it burnt down"
    assert records["b"][0]["reason"] == "input good train crashed: its machine was lost twice: it burnt down"
    assert (dict(outcome.statuses), outcome.exit_code) == ({"crashed": 1, "skipped": 1}, 1)


def test_an_engine_killed_in_the_middle_leaves_no_worker(store: Store, job: Jobs, machines: Any) -> None:
    """The step's own launcher ends it with a record when the engine's process is gone, and it runs again."""
    engine = machines(1)
    start = engine.start

    def start_and_kill(jobs: Any) -> None:
        start(jobs)
        log = Path(jobs[0][0]["log"])
        if log.name != "a.1.log":
            return
        while not (log.exists() and "still here" in log.read_text()):
            time.sleep(0.02)
        engine.running["a"].kill()

    engine.start = start_and_kill
    outcome, records = swept(store, engine, job("a", "chatty_hang", wall=2))
    first, second = records["a"]
    # by the step's own launcher or by this one, whichever came first
    assert first["status"] == "interrupted"
    assert first["reason"].startswith(("stopped by SIGTERM", "its machine was lost"))
    assert second["status"] == "timeout"
    assert dict(outcome.statuses) == {"timeout": 1}


def test_what_was_finished_before_the_machine_was_lost_is_done(store: Store, job: Jobs, machines: Any) -> None:
    engine = machines(1)
    wait = engine.wait
    engine.wait = lambda seconds: [Ended(one.step, lost="it burnt down later") for one in wait(seconds)]
    outcome, records = swept(store, engine, job("a"))
    assert [record["status"] for record in records["a"]] == ["done"]
    assert dict(outcome.statuses) == {"done": 1}


def test_a_lost_machine_that_comes_back_writes_nothing(store: Store, job: Jobs, machines: Any) -> None:
    engine = machines(1, lose=lambda job: job["attempt"] == 1)
    swept(store, engine, job("a"))
    record = store.record_path("fakes", "a", 1)
    before, made = record.read_bytes(), (store.cache / "checkpoints" / "a").stat().st_mtime_ns
    told = node.carry_out(str(store.job_paths("a", 1)[0].absolute()), False, {})
    assert told["code"] == 0
    assert record.read_bytes() == before
    assert (store.cache / "checkpoints" / "a").stat().st_mtime_ns == made


def test_what_no_machine_can_run_is_skipped_with_the_reason(store: Store, job: Jobs, machines: Any) -> None:
    gpu = {"device": "cuda", "devices": 3, "threads": 1, "ranks": 1}
    outcome, records = swept(store, machines(1, gpus=2), job("a", hardware=gpu))
    assert (records["a"][0]["status"], records["a"][0]["reason"]) == ("skipped", "no machine has 3 GPUs")
    assert outcome.exit_code == 0


def test_a_machine_that_does_not_see_the_folder_ends_the_sweep_in_one_line(
    store: Store, job: Jobs, machines: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node, "APPEAR_SECONDS", 0.0)
    assert node.carry_out(str(store.root / "nothing.json"), False, {}) == {"blind": True}
    engine = machines(1)
    engine.wait = lambda seconds: [ended("a", {"blind": True})]
    monkeypatch.setattr("harness.run.scatter.STOP_SECONDS", 0.0)
    with pytest.raises(UsageError, match="does not see the results folder; give --results"):
        swept(store, engine, job("a"))
    for process in engine.running.values():
        process.wait()
    assert not claims(store)


def test_a_full_disk_on_a_machine_ends_the_sweep(store: Store, job: Jobs, machines: Any) -> None:
    with pytest.raises(StoreError, match="cannot write"):
        ended("a", {"code": node.EXIT_STORE, "said": "cannot write /x: No space left on device"})
    assert ended("a", {"code": -9, "said": ""}).failed == "the step's launcher ended with signal 9"
    assert ended("a", {"code": node.EXIT_STOPPED, "said": ""}).lost


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_sweep_records_what_had_begun(store: Store, job: Jobs, number: int, code: int) -> None:
    script = textwrap.dedent("""
        import json, signal, sys
        from fakes.machines import Machines
        from harness.results.store import Store
        from harness.run.scatter import scatter
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs are made deaf to it
        outcome = scatter(json.loads(sys.argv[2]), Store(sys.argv[1]), Machines(2), preload=(), isolation="spawn")
        sys.exit(outcome.exit_code)
    """)
    jobs = json.dumps([job(name, "hang") for name in "abcd"])
    child = subprocess.Popen([sys.executable, "-c", script, str(store.root), jobs])
    logs = [store.cache / "jobs" / f"{name}.1.log" for name in "ab"]
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and not all(log.exists() and "half written" in log.read_text() for log in logs):
        time.sleep(0.05)
    child.send_signal(number)
    try:
        assert child.wait(timeout=90) == code
    finally:
        child.kill()  # nothing of it may live beside the tests that follow
        child.wait()
    found = store.records("fakes").records
    assert {(record["step"], record["status"]) for record in found} == {("a", "interrupted"), ("b", "interrupted")}
    assert all(record["reason"].startswith("stopped by") for record in found)
    assert not store.has_checkpoint("a")
    assert not claims(store)


def test_a_local_launcher_joins_in_and_no_step_is_done_twice(store: Store, job: Jobs, machines: Any) -> None:
    script = textwrap.dedent("""
        import json, sys
        from harness.results.store import Store
        from harness.run import launcher
        outcome = launcher.run(
            json.loads(sys.argv[2]), Store(sys.argv[1]), preload=(), canary=False, isolation="spawn")
        print(json.dumps([outcome.statuses, outcome.elsewhere]))
    """)
    jobs = [job(name, amount=0.2) for name in "abcdefgh"]
    assert store.installation
    child = subprocess.Popen(
        [sys.executable, "-c", script, str(store.root), json.dumps(jobs)], stdout=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and not claims(store):
        time.sleep(0.02)
    outcome, records = swept(store, machines(1), *jobs)
    statuses, elsewhere = json.loads(child.communicate(timeout=60)[0])
    ends = {step: [record["status"] for record in found] for step, found in records.items()}
    assert ends == {name: ["done"] for name in "abcdefgh"}
    assert outcome.statuses["done"] + statuses["done"] == 8
    assert statuses["done"] >= 1 and outcome.statuses["done"] >= 1
    assert elsewhere.get("done", 0) == outcome.statuses["done"]


def test_steps_on_one_machine_take_turns(store: Store, job: Jobs) -> None:
    """With turns, two engines' steps on this machine never overlap; a launcher that joined in is the same to them."""
    seen = {"name": "seen", "module": "fakes.seen", "params": {"seconds": 0.5}}
    store.check_writable()
    files = []
    for name in "ab":
        record = str(store.record_path("fakes", name, 1).absolute())
        log = str(store.job_paths(name, 1)[1].absolute())
        whole = job(name, adapter=seen) | {
            "attempt": 1, "isolation": "spawn", "cache": str(store.cache.absolute()), "record": record, "log": log,
        }  # fmt: skip
        files.append(store.job_paths(name, 1)[0])
        files[-1].write_text(json.dumps(whole))
    call = "import sys; from harness.run.node import carry_out; carry_out(sys.argv[1], True, {})"
    processes = [subprocess.Popen([sys.executable, "-c", call, str(file.absolute())]) for file in files]
    assert [process.wait(timeout=60) for process in processes] == [0, 0]
    first, second = sorted(
        (read(store.record_path("fakes", name, 1))["observed"]["seen"] for name in "ab"), key=lambda one: one["began"]
    )
    assert first["ended"] <= second["began"]


def test_a_step_that_two_launchers_handed_out_is_carried_out_once(store: Store, job: Jobs, tmp_path: Path) -> None:
    """As after a launcher was killed while its jobs waited in a queue: the other one leaves the step to the first."""
    seen = {"name": "seen", "module": "fakes.seen", "params": {"seconds": 1.0, "path": str(tmp_path / "note")}}
    store.check_writable()
    record, log = store.record_path("fakes", "a", 1).absolute(), store.job_paths("a", 1)[1].absolute()
    whole = job("a", adapter=seen) | {
        "attempt": 1, "isolation": "spawn", "cache": str(store.cache.absolute()), "record": str(record),
        "log": str(log),
    }  # fmt: skip
    file = store.job_paths("a", 1)[0].absolute()
    file.write_text(json.dumps(whole))
    call = "import sys; from harness.run.node import carry_out; print(carry_out(sys.argv[1], False, {})['code'])"
    processes = [
        subprocess.Popen([sys.executable, "-c", call, str(file)], stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    codes = sorted(int(process.communicate(timeout=120)[0]) for process in processes)
    assert codes[0] == 0 and set(codes) <= {0, node.EXIT_ELSEWHERE}
    assert node.carry_out(str(file), False, {})["code"] == 0, "its record is there"
    assert len((tmp_path / "note").read_text().splitlines()) == 1
    assert read(record)["status"] == "done" and not claims(store)


def test_a_neighbour_on_the_machine_is_flagged_in_what_an_engine_ran(store: Store, job: Jobs, machines: Any) -> None:
    burners = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2)]
    try:
        outcome, records = swept(store, machines(1), job("a", amount=1.5))
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()
    assert outcome.disturbed == ["a"]
    assert any(flag.startswith("contention: other processes used") for flag in records["a"][0]["flags"])


def test_an_environment_that_is_missing_there_ends_its_own_steps(store: Store, job: Jobs, machines: Any) -> None:
    outcome, records = swept(store, machines(1), job("a", environment="gguf"), job("b"))
    if records["a"][0]["status"] == "done":
        pytest.skip("the environment is set up here")
    assert records["a"][0]["status"] == "crashed" and "harness env sync gguf" in records["a"][0]["reason"]
    assert dict(outcome.statuses) == {"crashed": 1, "done": 1}


@pytest.mark.slow
def test_torchrun_works_below_an_engine(store: Store, job: Jobs, machines: Any) -> None:
    two = {"device": "cpu", "devices": 1, "threads": 2, "ranks": 2}
    _, records = swept(store, machines(2), job("a", "rank_steps", hardware=two), job("b", "rank_killed", hardware=two))
    assert records["a"][0]["status"] == "done", records["a"][0]["reason"]
    assert [one["rank"] for one in records["a"][0]["observed"]["ranks"]] == [0, 1]
    assert records["b"][0]["reason"] == "rank 1 of 2 died without a word: SIGKILL (see the log)"


def test_demands_follow_hardware_and_limits(job: Jobs) -> None:
    def demand(wall: float = 60, **hardware: Any) -> tuple[int, int, int | None]:
        found = demand_of(job("a", wall=wall, hardware={"device": "cpu", "threads": 0, **hardware}))
        return found.cpus, found.gpus, found.minutes

    assert demand() == (0, 0, 11)
    assert demand(threads=4, ranks=2, wall=61) == (4, 0, 12)
    assert demand(device="cuda", devices=2, ranks=2, threads=1) == (2, 2, 11)
    assert demand_of(job("a") | {"limits": {}}).minutes is None


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("rya", (), "unknown launcher 'rya'; did you mean 'ray'?"),
        ("local", ("a=1",), "the local launcher has no options"),
        ("slurm", ("partition",), "must be KEY=VALUE"),
        ("slurm", ("partitoin=x",), "did you mean 'partition'?"),
        ("slurm", ("array_parallelism=0",), "must be at least 1"),
        ("slurm", ("array_parallelism=many",), "must be"),
        ("slurm", ("cluster=pbs",), "must be one of slurm, local, debug"),
        ("ray", ("turns=perhaps",), "must be"),
    ],
)
def test_bad_options_are_one_line(name: str, options: tuple[str, ...], expected: str) -> None:
    with pytest.raises(UsageError, match=expected.replace("?", r"\?")) as error:
        connect(name, options)
    assert "\n" not in str(error.value)


def test_the_local_launcher_is_no_engine() -> None:
    assert connect("local", ()) is None
    assert os.getpid()
