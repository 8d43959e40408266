"""The launcher with real workers and fake techniques: whatever a step does, it leaves a record of its own status."""

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
from harness.results.store import Store
from harness.run import events, launcher
from harness.run.processes import descendants
from harness.run.service import Service
from harness.run.supervise import TERM_SECONDS

pytestmark = pytest.mark.quiet

Jobs = Callable[..., dict[str, Any]]


def sweep(store: Store, *jobs: dict[str, Any], **options: Any) -> tuple[events.Outcome, dict[str, dict[str, Any]]]:
    outcome = launcher.run(jobs, store, preload=(), canary=False, **options)
    found = store.records("fakes")
    assert not found.quarantined
    return outcome, {record["step"]: record for record in found.records}


DRIVER = textwrap.dedent("""
    import json, signal, sys
    from harness.results.store import Store
    from harness.run import launcher
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs are made deaf to it
    outcome = launcher.run(json.loads(sys.argv[2]), Store(sys.argv[1]), preload=(), canary=False)
    sys.exit(outcome.exit_code)
""")


def started(store: Store, *jobs: dict[str, Any]) -> subprocess.Popen[bytes]:
    """A launcher of its own process."""
    return subprocess.Popen([sys.executable, "-c", DRIVER, str(store.root), json.dumps(jobs)])


def wait_for(ready: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("act", "status", "reason"),
    [
        ("good", "done", None),
        ("crash", "failed", "ValueError: the technique has a bug"),
        ("user_mistake", "failed", "file 'x.csv' has no column 'text'"),
        ("leave", "failed", "SystemExit: 3"),
        ("vanish", "crashed", "ended with exit status 5 and left no record"),
        ("segfault", "crashed", "killed by SIGSEGV"),
        ("killed", "crashed", "killed by SIGKILL"),
        ("out_of_memory", "out_of_memory", "MemoryError"),
        ("torch_out_of_memory", "out_of_memory", "4096 bytes asked for"),
        ("does_not_fit", "out_of_memory", "needs 80 GiB"),
        ("liar", "failed", "train returned no checkpoint but dict"),
        ("pretender", "failed", "does not exist"),
        ("nan_metric", "invalid", "metric 'perplexity' is nan"),
    ],
)
@pytest.mark.parametrize("isolation", ["fork"])
def test_every_ending_has_its_own_status(
    store: Store, job: Jobs, act: str, status: str, reason: str | None, isolation: str
) -> None:
    outcome, records = sweep(store, job("a", act), isolation=isolation)
    record = records["a"]
    assert (record["status"], outcome.statuses[status]) == (status, 1)
    assert record["reason"] is None if reason is None else reason in record["reason"]
    assert outcome.exit_code == (0 if status in ("done", "out_of_memory") else 1)
    assert store.has_checkpoint("a") == (act in ("good", "nan_metric"))
    assert not list((store.cache / "partial").iterdir())


def test_a_crash_leaves_its_traceback_in_the_record(store: Store, job: Jobs) -> None:
    _, records = sweep(store, job("a", "crash"), job("b", "segfault"))
    assert any("the technique has a bug" in line for line in records["a"]["log_tail"])
    assert "about to die" in records["b"]["log_tail"]
    assert any("Segmentation fault" in line for line in records["b"]["log_tail"])


def test_spawned_and_forked_workers_leave_the_same_kind_of_record(store: Store, job: Jobs) -> None:
    _, records = sweep(store, job("a"), job("b", "segfault"), isolation="spawn")
    assert records["a"]["status"] == "done"
    assert records["a"]["environment"]["hard"]["isolation"] == "spawn"
    assert records["b"]["reason"].startswith("killed by SIGSEGV")


def test_the_record_says_what_was_asked_where_and_how_long(store: Store, job: Jobs) -> None:
    _, records = sweep(store, job("a", amount=0.2), command=("harness", "run", "x.yaml"))
    record = records["a"]
    assert record["coordinates"]["method"] == "good"
    assert record["command"] == ["harness", "run", "x.yaml"]
    assert record["environment"]["installation"] == store.installation
    spans = {span["name"]: span["seconds"] for span in record["spans"]}
    assert spans["train"] >= 0.2
    assert sum(spans.values()) == pytest.approx(record["wall_seconds"], rel=0.02, abs=0.05)
    assert str(store.root) not in json.dumps(record["job"])
    assert record["metrics"]["checkpoint_bytes"] == 2


def test_silence_and_wall_time_are_limited_apart(store: Store, job: Jobs) -> None:
    _, records = sweep(
        store,
        job("a", "hang", silence=0.5),
        job("b", "chatty_hang", wall=1.5, silence=0.5),
        job("c", "progress_then_end", silence=0.6, amount=1.6),
    )
    assert records["a"]["status"] == records["b"]["status"] == "timeout"
    assert "no output and no progress for 0.5 s" in records["a"]["reason"]
    assert "ran longer than 1.5 s" in records["b"]["reason"]
    assert records["b"]["log_tail"][0] == "still here"
    assert records["c"]["status"] == "done"


def test_a_worker_deaf_to_term_is_killed_with_a_grandchild_in_its_own_session(
    store: Store, job: Jobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.run.supervise.TERM_SECONDS", 0.5)
    note = tmp_path / "grandchild"
    _, records = sweep(store, job("a", "deaf_hang", silence=0.6, path=str(note)))
    assert records["a"]["status"] == "timeout"
    assert "half written" in records["a"]["log_tail"]
    assert not alive(int(note.read_text()))
    assert not store.has_checkpoint("a")
    assert not list((store.cache / "partial").iterdir())
    assert TERM_SECONDS == 5.0


@pytest.mark.parametrize("word", ["pid", "status"])
def test_a_signal_that_comes_as_the_server_speaks_costs_seconds_and_leaves_nobody(
    store: Store, job: Jobs, monkeypatch: pytest.MonkeyPatch, word: str
) -> None:
    """The word is read and lost: between the two lies nothing that a signal could not come between."""
    heard = Service.receive

    def interrupted(service: Service, seconds: float) -> dict[str, Any] | None:
        message = heard(service, seconds)
        if message is not None and word in message and "ready" not in message:
            monkeypatch.setattr(Service, "receive", heard)
            raise KeyboardInterrupt
        return message

    monkeypatch.setattr(Service, "receive", interrupted)
    began = time.monotonic()
    outcome, records = sweep(store, job("a", "hang" if word == "pid" else "good"))
    assert outcome.stopped == "Ctrl-C"
    assert time.monotonic() - began < 30
    assert records["a"]["status"] == ("interrupted" if word == "pid" else "done")
    assert not descendants(os.getpid())


@pytest.mark.parametrize("isolation", launcher.ISOLATION_MODES)
def test_what_a_good_worker_leaves_running_is_ended(store: Store, job: Jobs, tmp_path: Path, isolation: str) -> None:
    note = tmp_path / "grandchild"
    _, records = sweep(store, job("a", "orphan", path=str(note)), isolation=isolation)
    assert records["a"]["status"] == "done"
    assert not alive(int(note.read_text()))


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_noise_is_cut_to_the_last_lines(store: Store, job: Jobs) -> None:
    _, records = sweep(store, job("a", "noise"))
    tail = records["a"]["log_tail"]
    assert len(tail) == 40
    assert tail[-1] == "RuntimeError: after the noise"


def test_steps_whose_input_failed_are_skipped_with_that_reason(store: Store, job: Jobs) -> None:
    jobs = (
        job("a", "crash"),
        job("b", input="a"),
        job("c", reference="b"),
        job("d"),
        job("e", inputs={"teacher": "a"}),
    )
    outcome, records = sweep(store, *jobs)
    assert [records[step]["status"] for step in "abcde"] == ["failed", "skipped", "skipped", "done", "skipped"]
    assert records["e"]["reason"].startswith("teacher crash train failed")
    assert records["b"]["reason"] == "input crash train failed: ValueError: the technique has a bug"
    assert "ValueError: the technique has a bug" in records["c"]["reason"]
    assert outcome.statuses == {"failed": 1, "skipped": 3, "done": 1}


def test_a_planned_skip_is_recorded_once(store: Store, job: Jobs) -> None:
    skipped = job("a", state="skipped", reason="package 'x' is missing")
    for _ in range(2):
        sweep(store, skipped)
    sweep(store, skipped | {"reason": "another"})
    assert [record["reason"] for record in store.records("fakes").records] == ["package 'x' is missing", "another"]


def test_done_steps_are_not_run_and_a_failed_one_gets_another_attempt(store: Store, job: Jobs) -> None:
    sweep(store, job("a", "crash"))
    outcome, _ = sweep(store, job("a"), job("b", "crash", state="done"))
    assert outcome.already == 1
    assert [(r["attempt"], r["status"]) for r in store.records("fakes").records] == [(1, "failed"), (2, "done")]


def test_an_evaluation_reads_the_artefact_of_its_reference(store: Store, eval_job: Jobs) -> None:
    _, records = sweep(store, eval_job("a", keeps_artefact=True), eval_job("b", reference="a"))
    assert store.has_artefact("a")
    assert records["b"]["observed"]["reference"] == "kept"
    assert records["b"]["metrics"]["perplexity"] == 5.0
    assert records["b"]["items"]["perplexity"]["nll"] == [1.0, 2.0]
    assert [span["name"] for span in records["b"]["spans"]] == ["start", "import", "data", "load", "score"]


def test_events_come_in_order(store: Store, job: Jobs) -> None:
    heard: list[events.Event] = []
    sweep(store, job("a"), job("b", state="skipped", reason="no"), on_event=heard.append)
    assert [type(event).__name__ for event in heard] == [
        "StepStarted", "StepFinished", "StepFinished", "SweepFinished",
    ]  # fmt: skip
    assert (heard[1].status, heard[1].index, heard[1].total) == ("done", 1, 2)


def test_the_launcher_sleeps_while_a_step_runs(store: Store, job: Jobs) -> None:
    before = os.times()
    _, records = sweep(store, job("a", amount=1.5))
    after = os.times()
    assert records["a"]["metrics"]["supervisor_cpu_share"] < 0.02
    assert after.user + after.system - before.user - before.system < 0.75


def test_a_listener_that_computes_is_seen(store: Store, job: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.run.supervise.TICK_SECONDS", 0.05)

    def busy(event: events.Event) -> None:
        until = time.monotonic() + (0.2 if isinstance(event, events.Tick) else 0)
        while time.monotonic() < until:
            pass

    _, records = sweep(store, job("a", amount=1.0), on_event=busy)
    assert records["a"]["metrics"]["supervisor_cpu_share"] > 0.1


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_sweep_records_the_current_step(store: Store, job: Jobs, number: int, code: int) -> None:
    child = started(store, job("a", "hang"), job("b"))
    log = store.cache / "jobs" / "a.1.log"
    wait_for(lambda: log.exists() and "half written" in log.read_text())
    child.send_signal(number)
    assert child.wait(timeout=20) == code
    (record,) = store.records("fakes").records
    assert (record["step"], record["status"]) == ("a", "interrupted")
    assert record["reason"].startswith("stopped by")
    assert not store.has_checkpoint("a")


def test_a_broken_listener_does_not_leave_a_worker_behind(
    store: Store, job: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.run.supervise.TICK_SECONDS", 0.3)

    def broken(event: events.Event) -> None:
        if isinstance(event, events.Tick):
            raise RuntimeError("the progress bar broke")

    with pytest.raises(RuntimeError, match="progress bar"):
        sweep(store, job("a", "hang"), on_event=broken)
    (record,) = store.records("fakes").records
    assert record["status"] == "interrupted"


def test_a_sweep_and_what_takes_away_exclude_each_other(store: Store, job: Jobs) -> None:
    with store.lock(alone=True), pytest.raises(StoreError, match="another run is using"):
        sweep(Store(store.root), job("a"))
    with store.lock(), pytest.raises(StoreError, match="another run is using"), Store(store.root).lock(alone=True):
        pass


def test_a_second_sweep_takes_over_what_the_first_has_done_meanwhile(store: Store, job: Jobs) -> None:
    """Both were planned on an empty folder; the second finds each step done, failed as well, and does none twice."""
    jobs = [job("a"), job("b", "crash"), job("c", input="b")]
    late = Store(store.root)
    assert late.latest("a") is None  # its listing is made now
    first, _ = sweep(store, *jobs)
    second, records = sweep(late, *jobs)
    assert first.statuses == {"done": 1, "failed": 1, "skipped": 1}
    assert second.statuses == {}
    assert second.elsewhere == {"done": 1, "failed": 1, "skipped": 1}
    assert second.exit_code == first.exit_code == 1
    assert len(records) == 3
    assert list((store.cache / "claims").glob("*.json")) == []


def test_a_second_ctrl_c_gives_the_worker_no_more_time(store: Store, job: Jobs, tmp_path: Path) -> None:
    """The worker is deaf to TERM, so that the first Ctrl-C alone would wait five seconds for it."""
    pid = tmp_path / "pid"
    driver = started(store, job("a", "deaf_hang", path=str(pid)))
    wait_for(lambda: pid.exists() and pid.read_text() != "")
    began = time.monotonic()
    driver.send_signal(signal.SIGINT)
    time.sleep(0.5)
    driver.send_signal(signal.SIGINT)
    assert driver.wait(timeout=30) == 130
    assert time.monotonic() - began < TERM_SECONDS
    (record,) = store.records("fakes").records
    assert (record["status"], record["reason"]) == ("interrupted", "stopped by Ctrl-C")


def test_a_full_disk_ends_the_sweep_and_says_so(store: Store, job: Jobs) -> None:
    with pytest.raises(StoreError, match=r"no space left on the disk.*free space, then the same command goes on"):
        sweep(store, job("a"), job("b", "disk_full"), job("c"))
    statuses = {record["step"]: record["status"] for record in store.records("fakes").records}
    assert statuses == {"a": "done", "b": "failed"}


def test_a_day_that_the_clock_jumps_is_no_silence(store: Store, job: Jobs) -> None:
    """The log's time lies a day ahead or behind while the worker writes to it: it is alive; a silent one is not."""
    jobs = (job("a", "chatty_jumps", amount=2.0, silence=1.0), job("b", "hang", silence=0.5))
    _, records = sweep(store, *jobs)
    assert {step: record["status"] for step, record in records.items()} == {"a": "done", "b": "timeout"}


def test_what_was_disturbed_is_told(store: Store, job: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    outcome, _ = sweep(store, job("a", "disturbed_step"), job("b"))
    assert outcome.disturbed == ["a"]


def test_an_unknown_isolation_mode_is_one_line(store: Store) -> None:
    with pytest.raises(UsageError, match="unknown isolation mode 'docker'"):
        launcher.run([], store, isolation="docker")


def test_one_job_file_runs_by_itself(tmp_path: Path, job: Jobs) -> None:
    path = tmp_path / "one.json"
    path.write_text(json.dumps(job("a")))
    record = launcher.run_job(path)
    assert record["status"] == "done"
    assert (tmp_path / "a.1.record.json").is_file()


def test_a_bad_job_file_is_one_line(tmp_path: Path, job: Jobs) -> None:
    path = tmp_path / "one.json"
    for text, expected in (("{", "not valid JSON"), ("{}", "not a job file"), ('{"format": 1}', "lacks step")):
        path.write_text(text)
        with pytest.raises(UsageError, match=expected):
            launcher.run_job(path)


def test_a_cache_that_cannot_be_kept_within_its_limit_is_told_once(
    store: Store, job: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_CACHE_GB", "0")
    heard: list[events.Event] = []
    sweep(store, job("a"), job("b"), job("c", input="a"), job("d", input="b"), on_event=heard.append)
    (told,) = (event for event in heard if isinstance(event, events.CacheOver))
    assert told.bytes > 0
    assert not store.has_checkpoint("d")
