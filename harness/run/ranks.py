"""A training in several processes: torchrun starts them inside the step, and one record says what all of them did.

Every rank runs the adapter's own ``train`` under a meter of its own and tells it in a file (``harness.run.rank``). The
first rank's spans, curve and observations become the step's; tokens are summed, losses averaged, an optimiser step is
as slow as its slowest rank, and communication and peaks of memory are the largest of a rank, with every rank's beside
them.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.contract import Checkpoint, Job
from harness.errors import InvalidMeasurement, StepError
from harness.run.environment import thread_environment, threads_of
from harness.run.meter import Meter
from harness.run.processes import of_harness

LAUNCH = "launch"
EXIT_CODES = "exit_codes.json"
# What is the largest of a rank, rather than the first one's.
LARGEST = (
    "peak_memory_bytes", "peak_memory_rise_bytes", "runtime_memory_bytes", "training_memory_bytes",
    "rank_parameter_bytes", "rank_gradient_bytes", "rank_optimizer_bytes", "cuda_peak_allocated_bytes",
    "cuda_peak_reserved_bytes", "cuda_peak_active_bytes", "communication_seconds",
)  # fmt: skip
# Ranks of one machine meet here, whatever its name resolves to.
HOST = "127.0.0.1"


def train_on_ranks(job: Mapping[str, Any], request: Job, meter: Meter) -> Checkpoint:
    """Run the step's training in ``ranks`` processes and return the checkpoint that the first one made.

    Raises ``StepError`` with the reason of the rank that failed first; the others are ended by torchrun at once.
    """
    ranks = request.hardware.ranks
    folder = request.output / "ranks"
    folder.mkdir()
    file = folder / "job.json"
    file.write_text(json.dumps({**job, "ranks_folder": str(folder), "output": str(request.output)}))
    with meter.span(LAUNCH):
        code = subprocess.run(_command(ranks, file), env=_environment(job, ranks), check=False).returncode
    found = [_told(folder / f"rank{rank}.json") for rank in range(ranks)]
    _check(found, _told(folder / EXIT_CODES) or {}, code)
    told = [one for one in found if one is not None]
    _take_over(meter, told)
    made = told[0]["checkpoint"]
    return Checkpoint(
        kind=made["kind"], parts={name: Path(path) for name, path in made["parts"].items()},
        made=frozenset(made["made"]), opened_by=made["opened_by"],
    )  # fmt: skip


def _command(ranks: int, file: Path) -> list[str]:
    launcher = of_harness(sys.executable, "harness.run.torchrun", str(file.with_name(EXIT_CODES)))
    meeting = ["--rdzv-backend", "c10d", "--rdzv-endpoint", f"{HOST}:0", "--local-addr", HOST]
    return [*launcher, "--nproc-per-node", str(ranks), *meeting, "--module", "harness.run.rank", str(file)]


def _environment(job: Mapping[str, Any], ranks: int) -> dict[str, str]:
    """The worker's environment with each rank's share of the threads; ranks meet on the loopback interface."""
    share = max(1, threads_of(job["hardware"]) // ranks)
    network = {"GLOO_SOCKET_IFNAME": "lo", "NCCL_SOCKET_IFNAME": "lo", "MASTER_ADDR": HOST}
    path = os.pathsep.join(dict.fromkeys(filter(None, sys.path)))
    safe = {"PYTHONSAFEPATH": "1"} if sys.flags.safe_path else {}  # torchrun starts the ranks by ``python -m``
    own = thread_environment({**job["hardware"], "threads": share}) | network | safe
    return {**os.environ, **own, "PYTHONPATH": path}


def _told(file: Path) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads(file.read_text())
    except (OSError, ValueError):
        return None
    return found


def _check(found: Sequence[Mapping[str, Any] | None], codes: Mapping[str, int], code: int) -> None:
    """Raise for the rank that failed first. One that died without a word comes before those that told an error.

    The others lost their connection to it, or torchrun ended them (SIGTERM).
    """
    for rank, one in enumerate(found):
        exit_code = codes.get(str(rank), 0)
        if one is None and exit_code not in (0, -signal.SIGTERM):
            how = f"exit status {exit_code}" if exit_code > 0 else signal.Signals(-exit_code).name
            raise StepError(f"rank {rank} of {len(found)} died without a word: {how} (see the log)")
    failed = sorted(
        ((one["ended"], rank, one) for rank, one in enumerate(found) if one is not None and one["status"] != "done"),
        key=lambda entry: entry[:2],
    )
    if failed:
        _, rank, one = failed[0]
        error = InvalidMeasurement if one["status"] == "invalid" else StepError
        raise error(f"rank {rank} of {len(found)} {one['status']}: {one['reason']}")
    if code or None in found:
        raise StepError(f"torchrun ended with exit status {code}, and not every rank told what it did (see the log)")


def _take_over(meter: Meter, found: Sequence[Mapping[str, Any]]) -> None:
    first = found[0]
    largest = {name: max(one["metrics"][name] for one in found) for name in LARGEST if name in first["metrics"]}
    metrics = {**first["metrics"], **largest}
    steps = [one["optimizer_steps"] for one in found]
    merged = {
        "seconds": [max(values) for values in zip(*(one["seconds"] for one in steps), strict=True)],
        "loss": [sum(values) / len(values) for values in zip(*(one["loss"] for one in steps), strict=True)],
        **{
            name: [sum(values) for values in zip(*(one[name] for one in steps), strict=True)]
            for name in ("tokens", "nonpadding_tokens", "loss_tokens")
        },
    }
    each = [
        {"rank": rank, **{name: one["metrics"][name] for name in LARGEST if name in one["metrics"]}}
        for rank, one in enumerate(found)
    ]
    observed = {**first["observed"], "ranks": each}
    flags = [flag for one in found for flag in one["flags"]]
    curve = [
        {**points[0], "train_tokens": sum(one["train_tokens"] for one in points),
         "train_seconds": max(one["train_seconds"] for one in points)}
        for points in zip(*(one["curve"] for one in found), strict=True)
    ]  # fmt: skip
    meter.take_over(LAUNCH, first["spans"], merged, curve, metrics, observed, flags)
