"""One fake technique whose ``act`` parameter says how it behaves or misbehaves. Standard library alone."""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.contract import Adapter, Checkpoint, Job, param
from harness.errors import DoesNotFit, UsageError

MIB = 2**20


class OutOfMemoryError(RuntimeError):
    """Called as torch calls its own."""


class Misbehave(Adapter):
    """Trains by doing what it is told."""

    summary = "does what its parameter says"
    takes = frozenset()
    gives = frozenset({"model"})
    kinds = frozenset()

    @dataclass(frozen=True)
    class Params:
        """What to do, and one number for it."""

        act: str = param("good", "what to do")
        amount: float = param(0.0, "a number for the act")
        path: str = param("", "a file for the act")

    def train(self, job: Job) -> Checkpoint:
        """Do it."""
        made = ACTS[self.params.act](job, self.params)
        return made if made is not None else _checkpoint(job)

    def eval(self, job: Job) -> Any:
        """Nothing to open."""
        return None


def _checkpoint(job: Job) -> Checkpoint:
    (job.part("model") / "config.json").write_text("{}")
    return job.checkpoint.with_parts(kind="causal", model=job.output / "model")


def good(job: Job, params: Any) -> None:
    time.sleep(params.amount)


def where(job: Job, params: Any) -> None:
    job.meter.observe("where", {"prefix": sys.prefix, "variable": os.environ.get("DEMO_VARIABLE")})


def crash(job: Job, params: Any) -> None:
    raise ValueError("the technique has a bug")


def user_mistake(job: Job, params: Any) -> None:
    raise UsageError("file 'x.csv' has no column 'text'")


def leave(job: Job, params: Any) -> None:
    sys.exit(3)


def vanish(job: Job, params: Any) -> None:
    os._exit(5)


def segfault(job: Job, params: Any) -> None:
    print("about to die", flush=True)
    ctypes.string_at(0)


def killed(job: Job, params: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def abort(job: Job, params: Any) -> None:
    os.abort()


def hang(job: Job, params: Any) -> None:
    _half_a_part(job)
    time.sleep(600)


def deaf(job: Job, params: Any) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("deaf", flush=True)
    time.sleep(600)


def chatty_hang(job: Job, params: Any) -> None:
    while True:
        print("still here")
        time.sleep(0.05)


def chatty_jumps(job: Job, params: Any) -> None:
    """Write for ``amount`` seconds while the log's time stamps jump by a day, forth and back."""
    log = Path("/proc/self/fd/1").resolve()
    for number in range(int(params.amount / 0.1)):
        print("still here", flush=True)
        moment = time.time() + (86_400 if number % 2 else -86_400)
        os.utime(log, (moment, moment))
        time.sleep(0.1)


def disturbed_step(job: Job, params: Any) -> None:
    job.meter.flag("contention: other processes used 50% of the cores")


def disk_full(job: Job, params: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def progress_then_end(job: Job, params: Any) -> None:
    for _ in range(8):
        time.sleep(params.amount / 8)
        job.meter.progress()


def deaf_hang(job: Job, params: Any) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _half_a_part(job)
    Path(params.path).write_text(str(_grandchild()))
    time.sleep(600)


def orphan(job: Job, params: Any) -> None:
    Path(params.path).write_text(str(_grandchild()))


def out_of_memory(job: Job, params: Any) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (512 * MIB, 512 * MIB))
    bytearray(1024 * MIB)


def torch_out_of_memory(job: Job, params: Any) -> None:
    raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 4096 bytes.")


def device_out_of_memory(job: Job, params: Any) -> None:
    raise OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 1.00 GiB")


def real_device_out_of_memory(job: Job, params: Any) -> None:
    import torch

    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 1 GiB")


def does_not_fit(job: Job, params: Any) -> None:
    raise DoesNotFit("needs 80 GiB")


def noise(job: Job, params: Any) -> None:
    for line in range(20_000):
        print("noise", line)
    os.write(2, b"\xff\xfe raw bytes\n")
    raise RuntimeError("after the noise")


def liar(job: Job, params: Any) -> Any:
    return {"model": "trained, honestly"}


def pretender(job: Job, params: Any) -> Checkpoint:
    return job.checkpoint.with_parts(kind="causal", model=job.output / "nothing_here")


def nan_metric(job: Job, params: Any) -> None:
    try:
        job.meter.metric("perplexity", float("nan"))
    except Exception:
        print("swallowed")


def nan_loss(job: Job, params: Any) -> None:
    for step in range(1, 4):
        job.meter.step_begin()
        job.meter.step_end(tokens=10, nonpadding_tokens=10, loss_tokens=10)
        job.meter.step_loss(step, 4.0 if step < 3 else float("nan"))


def family(job: Job, params: Any) -> None:
    """Leave a process that has a session of its own and ignores TERM, and work for a while."""
    if os.fork() == 0:
        os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(600)
        os._exit(0)
    time.sleep(params.amount)


def stamp(job: Job, params: Any) -> None:
    """Say in a file when it began and ended, on the clock that no other sets."""
    _note(params.path, f"begin {os.getpid()} {time.monotonic():.6f}\n")
    time.sleep(params.amount)
    _note(params.path, f"end {os.getpid()} {time.monotonic():.6f}\n")


def many_items(job: Job, params: Any) -> None:
    """A record as long as that of an evaluation."""
    count = int(params.amount)
    columns = {"window": list(range(count)), "nll": [1.5] * count, "tokens": [1] * count, "bytes": [4] * count}
    job.meter.items("perplexity", columns)


def print_much(job: Job, params: Any) -> None:
    """Print so many bytes and then a hundred numbered lines."""
    block = (b"x" * 127 + b"\n") * (MIB // 128)
    for _ in range(int(params.amount) // MIB):
        os.write(1, block)
    for number in range(100):
        print("line", number)


def print_and_crash(job: Job, params: Any) -> None:
    print_much(job, params)
    raise RuntimeError("after the lines")


def large_part(job: Job, params: Any) -> None:
    """A checkpoint of so many bytes."""
    (job.part("model") / "weights").write_bytes(bytes(int(params.amount)))


def spike(job: Job, params: Any) -> None:
    with job.meter.span("spike"):
        block = bytearray(int(params.amount))
        block[::4096] = b"x" * len(block[::4096])
        del block
    with job.meter.span("after"):
        time.sleep(0.01)


def helper_process(job: Job, params: Any) -> None:
    code = f"b = bytearray({int(params.amount)}); b[::4096] = b'x' * len(b[::4096]); print(1, flush=True); input()"
    with job.meter.span("with_child"):
        child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        child.stdout.readline()
    child.communicate(b"\n")


def steps(job: Job, params: Any) -> None:
    for step in range(1, 21):
        job.meter.step_begin()
        time.sleep(0.005)
        if step % 5 == 0:
            with job.meter.span("evaluate"):
                time.sleep(0.05)
        job.meter.step_end(tokens=100, nonpadding_tokens=80, loss_tokens=60)
        job.meter.step_loss(step, 4.0 - step * 0.1)


def rank_crash(job: Job, params: Any) -> None:
    if os.environ["RANK"] == "1":
        raise ValueError("the second rank has a bug")
    time.sleep(600)


def rank_killed(job: Job, params: Any) -> None:
    if os.environ["RANK"] == "1":
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(600)


def rank_steps(job: Job, params: Any) -> None:
    rank = int(os.environ["RANK"])
    for step in range(1, 5):
        job.meter.step_begin()
        time.sleep(0.02 * (rank + 1))
        job.meter.step_end(tokens=100 + rank, nonpadding_tokens=80, loss_tokens=60)
        job.meter.step_loss(step, 4.0 + rank)


def _note(path: str, line: str) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    os.write(handle, line.encode())
    os.close(handle)


def _half_a_part(job: Job) -> None:
    (job.part("model") / "half.safetensors").write_bytes(b"half")
    print("half written", flush=True)


def _grandchild() -> int:
    """Start a process in a session of its own that also ignores TERM; return its process id."""
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(600)"
    child = subprocess.Popen([sys.executable, "-c", code], start_new_session=True, stdout=subprocess.PIPE)
    child.stdout.readline()
    return child.pid


ACTS = {
    name: act
    for name, act in list(globals().items())
    if callable(act) and getattr(act, "__module__", "") == __name__ and name[0] != "_" and name[0].islower()
}
