"""Slurm through submitit: its stand-ins for a local machine, the sbatch file, and a real Slurm where there is one."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.errors import UsageError
from harness.results.store import Store
from harness.run.engines import Demand, connect, slurm
from harness.run.scatter import scatter

pytest.importorskip("submitit", reason="the package submitit is not installed: pip install -e '.[dev]'")

Jobs = Callable[..., dict[str, Any]]


def swept(store: Store, engine: Any, *jobs: dict[str, Any]) -> tuple[Any, dict[str, dict[str, Any]]]:
    outcome = scatter(jobs, store, engine, preload=(), isolation="spawn")
    engine.close()
    return outcome, {record["step"]: record for record in store.records("fakes").records}


@pytest.mark.parametrize("cluster", ["local", "debug"])
def test_submitits_stand_ins_run_a_sweep(store: Store, job: Jobs, eval_job: Jobs, cluster: str) -> None:
    engine = connect("slurm", [f"cluster={cluster}"])
    outcome, records = swept(
        store, engine, job("a"), job("b", "segfault"), eval_job("c", input="a"), eval_job("d", input="b")
    )
    assert {step: record["status"] for step, record in records.items()} == {
        "a": "done", "b": "crashed", "c": "done", "d": "skipped",
    }  # fmt: skip
    assert outcome.exit_code == 1
    assert records["b"]["reason"].startswith("killed by SIGSEGV")
    assert not list((store.cache / "slurm").glob("*/*")), "what submitit leaves is removed"


def test_a_step_of_a_killed_launcher_is_not_done_twice(store: Store, job: Jobs, tmp_path: Path) -> None:
    """Its job goes on. The same sweep again waits for it, and so would a launcher that measures here itself."""
    note = tmp_path / "note"
    seen = {"name": "seen", "module": "fakes.seen", "params": {"seconds": 5.0, "path": str(note)}}
    jobs = [job("a", adapter=seen), job("b", adapter={**seen, "params": {"seconds": 0.0, "path": str(note)}})]
    script = textwrap.dedent("""
        import json, sys
        from harness.results.store import Store
        from harness.run.engines import connect
        from harness.run.scatter import scatter
        engine = connect("slurm", ["cluster=local"])
        scatter(json.loads(sys.argv[2]), Store(sys.argv[1]), engine, preload=(), isolation="spawn")
    """)
    assert store.installation
    child = subprocess.Popen([sys.executable, "-c", script, str(store.root), json.dumps(jobs)])
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not note.exists():
        time.sleep(0.05)
    child.kill()
    child.wait()
    assert not store.records("fakes").records, "the step was to be in the middle"
    outcome, records = swept(store, connect("slurm", ["cluster=local"]), *jobs)
    assert {step: record["status"] for step, record in records.items()} == {"a": "done", "b": "done"}
    assert len(store.records("fakes").records) == 2 and len(note.read_text().splitlines()) == 2
    assert (dict(outcome.elsewhere), dict(outcome.statuses)) == ({"done": 1}, {"done": 1})


@pytest.mark.slow
def test_torchrun_works_inside_a_job(store: Store, job: Jobs) -> None:
    two = {"device": "cpu", "devices": 1, "threads": 2, "ranks": 2}
    _, records = swept(store, connect("slurm", ["cluster=local"]), job("a", "rank_steps", hardware=two))
    assert records["a"]["status"] == "done", records["a"]["reason"]
    assert [one["rank"] for one in records["a"]["observed"]["ranks"]] == [0, 1]


def sbatch(options: slurm.Options, demand: Demand, folder: Path) -> list[str]:
    """The lines of the file that submitit would hand to sbatch."""
    from submitit.auto.auto import AutoExecutor
    from submitit.slurm.slurm import SlurmExecutor

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(SlurmExecutor, "affinity", classmethod(lambda cls: 2))
        executor = AutoExecutor(folder, cluster="slurm", slurm_max_num_timeout=-1)
        executor.update_parameters(**slurm.parameters_of(options, demand))
        text: str = executor._executor._make_submission_file_text("command", "uid")
    return text.splitlines()


def test_a_job_has_a_node_for_itself_and_runs_once(tmp_path: Path) -> None:
    options = slurm.Options(partition="gpu", account="lab", qos="high", gpu_type="h100", constraint="ib")
    lines = sbatch(options, Demand(8, 2, 70), tmp_path)
    for flag in (
        "exclusive", "no-requeue", "mem=0", "cpus-per-task=8", "gres=gpu:h100:2", "time=70", "partition=gpu",
        "account=lab", "qos=high", "constraint=ib", "nodes=1",
    ):  # fmt: skip
        assert f"#SBATCH --{flag}" in lines, flag


def test_a_job_without_threads_has_every_core(tmp_path: Path) -> None:
    lines = sbatch(slurm.Options(), Demand(0, 0, None), tmp_path)
    assert not any("cpus-per-task" in line or "gres" in line for line in lines)
    assert any("srun" in line and "--cpu-bind=none" in line for line in lines)
    assert "#SBATCH --time=1440" in lines


def test_machines_are_asked_of_sinfo(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = "64|gpu:a100:4(S:0-1),license:2\n128|(null)\n"
    asked: list[list[str]] = []

    def run(command: list[str]) -> Any:
        asked.append(command)
        return type("Done", (), {"stdout": shown, "returncode": 0, "stderr": ""})()

    monkeypatch.setattr(slurm, "_run", run)
    machine = slurm.Slurm(slurm.Options(partition="p"), None).machine()
    assert (machine.cores, machine.cuda_devices) == (128, 4)
    assert asked[0][-2:] == ["--partition", "p"]


class Job:
    """A job of submitit as the engine looks at it."""

    def __init__(self, job_id: str, folder: Path) -> None:
        self.job_id = job_id
        self.paths = type("Paths", (), {"result_pickle": folder / f"{job_id}.pkl"})()


def test_a_job_that_slurm_knows_no_more_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three jobs of an array and one alone: one still runs, one waits, one has failed, one is forgotten."""
    engine = slurm.Slurm(slurm.Options(), None)
    engine._jobs = {step: Job(job, tmp_path) for step, job in {"a": "7_0", "b": "7_1", "c": "7_2", "d": "9"}.items()}
    answers = ["7_0|8|RUNNING\n7_1|7|PENDING\n7_2|10|NODE_FAIL\n", ""]
    results = [type("Done", (), {"stdout": text, "returncode": 0, "stderr": ""})() for text in answers]
    broken = type("Done", (), {"stdout": "", "returncode": 1, "stderr": "Unable to contact slurm controller"})()
    replies = [broken, results[0]]
    monkeypatch.setattr(slurm, "_run", lambda command: replies.pop(0))
    monkeypatch.setattr(slurm, "STATE_SECONDS", -1.0)
    monkeypatch.setattr(slurm, "LATE_SECONDS", -1.0)
    engine._ask()
    assert not engine._gone, "a controller that does not answer loses nobody's jobs"
    engine._ask()
    assert set(engine._gone) == {"c", "d"}
    monkeypatch.setattr(slurm, "_run", lambda command: results[0])
    assert {one.step: bool(one.lost) for one in engine.wait(0.0)} == {"c": True, "d": True}


def test_what_slurm_refuses_ends_the_step_with_its_words(store: Store, job: Jobs) -> None:
    engine: Any = connect("slurm", ["cluster=local"])

    class Refuses:
        def map_array(self, *_: Any) -> None:
            raise engine._submitit.core.utils.FailedJobError(
                "----\nsbatch: error: Batch job submission failed: Requested node configuration is not available"
            )

    engine._executor = lambda demand: Refuses()
    _, records = swept(store, engine, job("a"))
    assert records["a"]["status"] == "crashed"
    assert records["a"]["reason"].endswith("Requested node configuration is not available")


def test_a_machine_without_slurm_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(UsageError, match="needs Slurm's commands, and there is no sbatch and no squeue and no srun"):
        connect("slurm", [])
