"""A real Slurm of one node on this machine, where its packages are installed: `apt-get install slurm-wlm munge`."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.results.store import Store
from harness.run import events
from harness.run.engines import connect
from harness.run.scatter import scatter

pytest.importorskip("submitit", reason="the package submitit is not installed: pip install -e '.[dev]'")
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "sinfo")
pytestmark = [
    pytest.mark.quiet,
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="Slurm's daemons need root"),
]
Jobs = Callable[..., dict[str, Any]]

CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
SlurmctldPort=46817
SlurmdPort=46818
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=1,batch_sched_delay=0
MpiDefault=none
ReturnToService=2
KillWait=10
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} Gres=gpu:2 State=UNKNOWN
PartitionName=quick Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Three daemons of a Slurm that nobody else sees; skipped with the reason where they cannot be started."""
    if missing := [name for name in PROGRAMS if _program(name) is None]:
        pytest.skip(f"no {', '.join(missing)} on this machine: apt-get install slurm-wlm munge")
    folder = tmp_path_factory.mktemp("slurm")
    folder.parent.chmod(0o755)
    host = socket.gethostname().split(".")[0]
    for name in ("state", "spool"):
        (folder / name).mkdir()
    cores = len(os.sched_getaffinity(0))
    (folder / "slurm.conf").write_text(CONFIGURATION.format(host=host, folder=folder, cores=cores))
    devices = ("/dev/null", "/dev/zero")  # pretended GPUs: a file each, never opened
    (folder / "gres.conf").write_text("".join(f"NodeName={host} Name=gpu File={file}\n" for file in devices))
    (folder / "cgroup.conf").write_text("CgroupAutomount=no\n")
    (folder / "munge.key").write_bytes(os.urandom(128))
    (folder / "munge.key").chmod(0o600)
    conf = str(folder / "slurm.conf")
    munged = [
        "munged", "--foreground", "--force", f"--socket={folder}/munge.socket", f"--key-file={folder}/munge.key",
        f"--pid-file={folder}/munge.pid", f"--log-file={folder}/munge.log", f"--seed-file={folder}/munge.seed",
    ]  # fmt: skip
    daemons: list[subprocess.Popen[bytes]] = []
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("SLURM_CONF", conf)
        patched.setenv("PATH", f"{os.environ['PATH']}:/usr/sbin:/sbin")
        try:
            daemon = ["-D", "-c", "-f", conf]
            for command in (munged, ["slurmctld", *daemon], ["slurmd", *daemon, "-N", host]):
                with (folder / f"{command[0]}.out").open("wb") as output:
                    daemons.append(subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True))
                time.sleep(1.0)
            if not _up():
                said = [line for log in sorted(folder.glob("*.out")) for line in log.read_text().splitlines()[-2:]]
                pytest.skip(f"Slurm does not come up here: {' | '.join(said)}")
            yield folder
        finally:
            for process in reversed(daemons):
                process.send_signal(signal.SIGTERM)
                process.wait(timeout=20)


def _program(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")


def _up() -> bool:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        shown = subprocess.run(["sinfo", "-h", "-o", "%T"], capture_output=True, text=True, check=False)
        if shown.stdout.strip() == "idle":
            return True
        time.sleep(0.5)
    return False


def seen(job: Jobs, step: str, gpus: int = 0, **more: Any) -> dict[str, Any]:
    hardware = {"device": "cuda" if gpus else "cpu", "devices": gpus or 1, "threads": 1, "ranks": 1}
    adapter = {"name": "seen", "module": "fakes.seen", "params": {"seconds": 0.3}}
    return job(step, adapter=adapter, hardware=hardware, **more)


def test_a_sweep_on_a_real_slurm(store: Store, job: Jobs, eval_job: Jobs, cluster: Path) -> None:
    """An array of ready steps and what depends on them; one job is cancelled behind the launcher's back."""
    jobs = [
        *(seen(job, f"step{number}") for number in range(3)), seen(job, "gpu", 2), job("crash", "crash"),
        job("cancelled", "good", amount=8.0), eval_job("eval", input="step0"), eval_job("skipped", input="crash"),
    ]  # fmt: skip
    engine: Any = connect("slurm", ["partition=quick", "turns=false"])
    assert (engine.machine().cores, engine.machine().cuda_devices) == (len(os.sched_getaffinity(0)), 2)
    lost: list[str] = []

    def cancel_once(event: events.Event) -> None:
        if isinstance(event, events.Lost):
            lost.append(event.job["step"])
        running = store.cache / "jobs" / "cancelled.1.running"
        if isinstance(event, events.Tick) and running.exists() and "cancelled" in engine._jobs and not lost:
            subprocess.run(["scancel", engine._jobs["cancelled"].job_id], check=True)

    outcome = scatter(jobs, store, engine, preload=(), isolation="spawn", on_event=cancel_once)
    engine.close()
    found = sorted(store.records("fakes").records, key=lambda record: record["attempt"])
    records = {record["step"]: record for record in found}
    assert {step: record["status"] for step, record in records.items()} == {
        "step0": "done", "step1": "done", "step2": "done", "gpu": "done", "crash": "failed", "cancelled": "done",
        "eval": "done", "skipped": "skipped",
    }  # fmt: skip
    assert lost == ["cancelled"]
    assert [(one["attempt"], one["status"]) for one in found if one["step"] == "cancelled"] == [
        (1, "interrupted"), (2, "done"),
    ]  # fmt: skip
    assert dict(outcome.statuses) == {"done": 6, "failed": 1, "skipped": 1}
    spans = sorted(
        (told["began"], told["ended"]) for record in found if (told := record["observed"].get("seen")) is not None
    )
    assert len(spans) == 4
    assert all(earlier[1] <= later[0] for earlier, later in itertools.pairwise(spans)), "one at a time"


def test_what_slurm_cannot_give_is_told_in_its_words(store: Store, job: Jobs, cluster: Path) -> None:
    engine: Any = connect("slurm", ["partition=quick"])
    outcome = scatter([seen(job, "a", 3)], store, engine, preload=(), isolation="spawn")
    (record,) = store.records("fakes").records
    assert record["status"] == "crashed" and record["reason"].startswith("Slurm refused the job: ")
    assert outcome.exit_code == 1


def test_a_stopped_sweep_leaves_nothing_in_the_queue(store: Store, job: Jobs, cluster: Path) -> None:
    engine: Any = connect("slurm", ["partition=quick", "turns=false"])

    def stop(event: events.Event) -> None:
        log = store.cache / "jobs" / "a.1.log"
        if isinstance(event, events.Tick) and log.exists() and "half written" in log.read_text():
            raise KeyboardInterrupt

    jobs = [job(name, "hang") for name in "abc"]
    outcome = scatter(jobs, store, engine, preload=(), isolation="spawn", on_event=stop)
    assert outcome.exit_code == 130
    found = {record["step"]: record["status"] for record in store.records("fakes").records}
    assert found == {"a": "interrupted"}
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and _queue():
        time.sleep(0.5)
    assert not _queue()


def _queue() -> str:
    return subprocess.run(["squeue", "-h"], capture_output=True, text=True, check=False).stdout.strip()
