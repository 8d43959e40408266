"""Slurm as the engine, through submitit: one exclusive job per step, those that are ready together as one array.

``cluster=local`` and ``cluster=debug`` are submitit's own stand-ins, for trying without Slurm: one step at a time.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import environments
from harness.contract import param
from harness.errors import UsageError
from harness.plan.machine import Machine, this_machine
from harness.run.engines import Demand, Ended, demand_of, ended
from harness.run.failures import one_line
from harness.run.node import carry_out

POLL_SECONDS = 1.0  # between two looks at the results of jobs; the launcher sits on a login node
STATE_SECONDS = 20.0  # between two questions to Slurm, which is asked for all jobs at once
LATE_SECONDS = 40.0  # a job that Slurm knows no more may still have a result that the file system shows late
LONGEST_ARRAY = 1000  # Slurm's default MaxArraySize is 1001
ALIVE = ("PENDING", "RUNNING", "COMPLETING", "CONFIGURING", "SUSPENDED", "STAGE_OUT", "RESIZING", "SIGNALING")
COMMANDS = ("sbatch", "squeue", "srun")
NO_LIMIT_MINUTES = 24 * 60


@dataclass(frozen=True)
class Options:
    """What ``--launcher-option`` may say."""

    cluster: str = param("slurm", "slurm, or submitit's stand-ins on this machine", choices=("slurm", "local", "debug"))
    partition: str | None = param(None, "partition")
    account: str | None = param(None, "account")
    qos: str | None = param(None, "quality of service")
    constraint: str | None = param(None, "features that nodes must have")
    gpu_type: str | None = param(None, "the GPUs that steps on GPUs need, as in --gres=gpu:TYPE:2")
    array_parallelism: int = param(256, "how many steps run at a time at most", low=1)
    minutes: int | None = param(None, "time limit of a job in place of the step's own and ten minutes", low=1)
    turns: bool = param(True, "wait for a step of a local launcher on the same machine")


class Slurm:
    """A Slurm cluster that this machine may submit to."""

    name = "slurm"

    def __init__(self, options: Options, submitit: Any) -> None:
        self._options = options
        self._submitit = submitit
        self._folder: Path | None = None
        self._jobs: dict[str, Any] = {}
        self._refused: list[Ended] = []
        self._gone: dict[str, float] = {}
        self._asked_at = 0.0

    def machine(self) -> Machine:
        """See ``Engine``; of nodes that ``sinfo`` cannot tell, nothing is excluded before it is tried."""
        if self._options.cluster != "slurm":
            return this_machine()
        partition = ["--partition", self._options.partition] if self._options.partition else []
        lines = _run(["sinfo", "--noheader", "--Node", "--format", "%c|%G", *partition]).stdout.splitlines()
        found = [(int(cores.rstrip("+")), _gpus(gres)) for cores, _, gres in (line.partition("|") for line in lines)]
        cores, gpus = (max(column) for column in zip(*found, strict=True)) if found else (1 << 20, 1 << 10)
        return Machine(cores=cores, cuda_devices=gpus, environments=environments.ready())

    def check(self, cache: Path) -> None:
        """See ``Engine``; whether nodes see the folder is told by the first job, since a probe would queue like one."""
        self._folder = cache / "slurm" / secrets.token_hex(4)

    def lacks(self, demand: Demand) -> str | None:
        """See ``Engine``: ``sbatch`` says so itself."""
        return None

    def room(self, demand: Demand) -> int:
        """See ``Engine``."""
        return LONGEST_ARRAY if self._options.cluster == "slurm" else 1

    def start(self, jobs: Sequence[tuple[Mapping[str, Any], Path]]) -> None:
        """See ``Engine``; what Slurm refuses ends at once."""
        groups = defaultdict(list)
        for job, file in jobs:
            groups[demand_of(job)].append((job["step"], str(file)))
        for demand, members in groups.items():
            steps = [step for step, _ in members]
            try:
                submitted = self._executor(demand).map_array(
                    carry_out, [file for _, file in members], [self._options.turns] * len(members), [{}] * len(members)
                )
            except (self._submitit.core.utils.FailedJobError, self._submitit.core.utils.FailedSubmissionError) as error:
                self._refused += [Ended(step, failed=f"Slurm refused the job: {_last(error)}") for step in steps]
                continue
            self._jobs |= dict(zip(steps, submitted, strict=True))

    def wait(self, seconds: float) -> list[Ended]:
        """See ``Engine``. There is nothing to block on: a job's result is a file."""
        deadline = time.monotonic() + seconds
        while True:
            found, self._refused = self._refused, []
            found += [self._ended(step) for step in list(self._jobs) if self._over(step)]
            left = deadline - time.monotonic()
            if found or left <= 0:
                return found
            time.sleep(min(POLL_SECONDS, left))

    def cancel(self) -> None:
        """See ``Engine``: Slurm sends SIGTERM to every process of a job and, after its KillWait, SIGKILL."""
        if self._options.cluster == "slurm":
            _run(["scancel", *(job.job_id for job in self._jobs.values())])
            return
        for job in self._jobs.values():
            job.cancel(check=False)

    def close(self) -> None:
        """See ``Engine``; what submitit left for jobs that ended well is removed."""
        if self._folder is not None and not self._jobs:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _executor(self, demand: Demand) -> Any:
        assert self._folder is not None
        options = self._options
        executor = self._submitit.AutoExecutor(self._folder, cluster=options.cluster, slurm_max_num_timeout=-1)
        executor.update_parameters(**parameters_of(options, demand))
        return executor

    def _over(self, step: str) -> bool:
        job = self._jobs[step]
        if self._options.cluster != "slurm":
            return bool(job.done())
        if job.paths.result_pickle.exists():
            return True
        self._ask()
        return time.monotonic() - self._gone.get(step, float("inf")) > LATE_SECONDS

    def _ask(self) -> None:
        """Note when a job was first seen to be no more, in one question for all; ``sacct`` may not be set up."""
        if time.monotonic() - self._asked_at < STATE_SECONDS:
            return
        self._asked_at = time.monotonic()
        ids = sorted({job.job_id.split("_")[0] for job in self._jobs.values()})
        shown = ["squeue", "--noheader", "--array", "--format", "%F_%K|%A|%T", "--jobs", ",".join(ids)]
        done = _run(shown)
        if done.returncode and "Invalid job id" not in done.stderr:  # the controller does not answer: nothing is known
            return
        alive = set()
        for line in done.stdout.splitlines():
            array, own, state = line.strip().split("|")
            if state in ALIVE:
                alive |= {array, own}
        for step, job in self._jobs.items():
            if job.job_id in alive:
                self._gone.pop(step, None)
            else:
                self._gone.setdefault(step, self._asked_at)

    def _ended(self, step: str) -> Ended:
        job = self._jobs.pop(step)
        self._gone.pop(step, None)
        if self._options.cluster != "debug" and not job.paths.result_pickle.exists():
            return Ended(step, lost=f"job {job.job_id} has ended without a result")
        try:
            told = job.result()
        except Exception as error:  # submitit gives back what ended the function there, or says that nothing came
            return Ended(step, lost=f"job {job.job_id}: {_last(error)}")
        return ended(step, told)


def connect(options: Options) -> Slurm:
    """Look for Slurm; ``UsageError`` where the package or Slurm's commands are missing."""
    try:
        import submitit
    except ImportError:
        raise UsageError("--launcher slurm needs a package: pip install 'llm-technique-harness[slurm]'") from None
    lacking = [name for name in COMMANDS if not shutil.which(name)]
    if options.cluster == "slurm" and lacking:
        raise UsageError(f"--launcher slurm needs Slurm's commands, and there is no {' and no '.join(lacking)} here")
    return Slurm(options, submitit)


def parameters_of(options: Options, demand: Demand) -> dict[str, Any]:
    """What submitit is told of jobs with one demand: a whole node, no second run, and all of the node's memory."""
    minutes = options.minutes or demand.minutes or NO_LIMIT_MINUTES
    also = {"mem": "0", "no-requeue": True} | {
        name: value for name, value in (("account", options.account), ("qos", options.qos)) if value
    }
    kind = f"{options.gpu_type}:" if options.gpu_type else ""
    return {
        "name": "harness",
        "timeout_min": minutes,
        "cpus_per_task": demand.cpus or None,
        "slurm_exclusive": True,
        "slurm_partition": options.partition,
        "slurm_constraint": options.constraint,
        "slurm_gres": f"gpu:{kind}{demand.gpus}" if demand.gpus else None,
        "slurm_array_parallelism": options.array_parallelism,
        "slurm_additional_parameters": also,
        # without threads given, a step uses every core of its node
        "slurm_srun_args": None if demand.cpus else ["--cpu-bind=none"],
    }


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C"})


def _gpus(gres: str) -> int:
    """GPUs in a node's generic resources, as in ``gpu:a100:4(S:0-1),license:2``."""
    counts = [part.partition("(")[0].split(":") for part in gres.split(",") if part.startswith("gpu")]
    return sum(int(words[-1]) if words[-1].isdigit() else 1 for words in counts)


def _last(error: Exception) -> str:
    """The line of an error of submitit that says what happened: the last one that is no frame and no ruler."""
    lines = [line.strip() for line in str(error).splitlines()]
    told = [line for line in lines if line and not line.startswith(("---", "- /", "You can check", "or at paths"))]
    return one_line(told[-1] if told else type(error).__name__, 200)
