"""The preloaded server: a clean process that has imported the libraries and forks or starts one worker per request.

Started by the launcher with the thread environment already set. It never runs a torch operator and opens no device: a
worker forked after that hangs. It reaps everything that a worker leaves behind. When its launcher dies it ends all of
them first, those in sessions of their own too, and then itself.

Protocol, JSON lines: ``{"fork": JOB}`` or ``{"spawn": JOB, "python": PATH}`` in; ``{"ready": [...]}`` or
``{"stopped": REASON}``, ``{"pid": N}`` and ``{"pid": N, "status": CODE or -SIGNAL, "strays": N}`` out. One worker at a
time.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import importlib.abc
import json
import os
import select
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, NoReturn

from harness.run.pages import Range, map_again, resident_file_ranges
from harness.run.processes import (
    PR_SET_CHILD_SUBREAPER,
    PR_SET_PDEATHSIG,
    descendants,
    kill_all,
    kill_group,
    of_harness,
    set_process_option,
)

# Everything that a step of the shipped techniques imports, so that a forked worker imports nothing while it is timed.
PRELOAD = (
    "torch", "numpy", "tokenizers", "safetensors.torch", "transformers", "transformers.trainer",
    "transformers.models.auto.modeling_auto", "transformers.models.llama.modeling_llama",
    "transformers.models.gpt2.modeling_gpt2", "accelerate", "peft", "bitsandbytes",
)  # fmt: skip
# What opens a GPU when it is imported, so that no process forked afterwards could use one.
OPEN_A_GPU = ("bitsandbytes",)
# What the worker's own plumbing imports; paid once here.
_PLUMBING = ("harness.run.worker", "harness.models.checkpoint", "harness.models.inspect", "harness.training.seeding")
EXIT_GPU_IS_OPEN = 76


def serve(preload: list[str]) -> None:
    """Import ``preload``, say so, and answer requests until the launcher closes the pipe."""
    requests, replies = _private_pipes()
    set_process_option(PR_SET_PDEATHSIG, signal.SIGKILL)  # so far there is nothing to end but this process
    if _hung_up(requests):
        return
    set_process_option(PR_SET_CHILD_SUBREAPER, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with gpu_unopened():
        loaded = [name for name in preload if _import(name)]
        for name in _PLUMBING if preload else _PLUMBING[:1]:
            _import(name)
        if preload:
            importlib.import_module("harness.run.environment").soft_facts()
    if gpu_is_open():
        reason = "a library that the server imported opened a GPU, which no worker forked from it could use"
        _reply(replies, {"stopped": f"{reason}: use --isolation spawn, which forks none"})
        sys.exit(EXIT_GPU_IS_OPEN)
    gc.collect()
    gc.freeze()
    _library_pages.extend(resident_file_ranges() if preload else ())
    signal.signal(signal.SIGTERM, _leave)
    set_process_option(PR_SET_PDEATHSIG, signal.SIGTERM)
    try:
        if not _hung_up(requests):
            _reply(replies, {"ready": loaded})
            _answer(requests, replies)
    except (_LauncherGone, BrokenPipeError):
        pass
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        _end_children()


@contextlib.contextmanager
def gpu_unopened() -> Iterator[tuple[str, ...]]:
    """Where a GPU can be seen, let nothing import what would open it, so that a fork can; the names left out.

    Other libraries import such a one "where it is there" (PEFT does bitsandbytes): they get ``ImportError``. To those
    that only ask whether it is installed it is there, so that none remembers the contrary.
    """
    if os.environ.get("CUDA_VISIBLE_DEVICES") == "":
        yield ()
        return
    refusal = _Refusal()
    sys.meta_path.insert(0, refusal)
    try:
        yield OPEN_A_GPU
    finally:
        sys.meta_path.remove(refusal)


class _Refusal(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds what opens a GPU and refuses to load it."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """What the other finders find, with this loader; None of any other module."""
        if fullname not in OPEN_A_GPU:
            return None
        others = (finder for finder in sys.meta_path if finder is not self)
        found = next(filter(None, (finder.find_spec(fullname, path, target) for finder in others)), None)
        if found is not None:
            found.loader = self
        return found

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Always ``ImportError``."""
        raise ImportError(f"{spec.name} would open a GPU, which no process forked from this one could use")

    def exec_module(self, module: ModuleType) -> None:
        """Never reached."""


def gpu_is_open() -> bool:
    """Whether torch could not use a GPU in a process that is forked now. Only a fork knows: asking the CUDA runtime how
    many GPUs there are is enough to spoil it.
    """
    cuda = getattr(sys.modules.get("torch"), "cuda", None)
    if cuda is None or os.environ.get("CUDA_VISIBLE_DEVICES") == "":
        return False
    child = os.fork()
    if child == 0:
        os._exit(bool(getattr(cuda, "_is_in_bad_fork", bool)()))
    spoilt = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0
    return spoilt or bool(cuda.is_initialized())


class _LauncherGone(BaseException):
    """SIGTERM: the launcher has died, or somebody ends this server."""


def _leave(_number: int, _frame: object) -> None:
    raise _LauncherGone


def _answer(requests: int, replies: int) -> None:
    """Start workers as asked and tell how they ended, until the launcher closes the pipe."""
    wakeup = _wake_on_child()
    buffer = b""
    while True:
        readable, _, _ = select.select([requests, wakeup], [], [])
        if wakeup in readable:
            os.read(wakeup, 4096)
        if requests in readable:
            chunk = os.read(requests, 1 << 16)
            if not chunk:
                return
            buffer += chunk
            *lines, buffer = buffer.split(b"\n")
            for line in lines:
                _start(json.loads(line), requests, replies, wakeup)
        _reap(replies)


_workers: set[int] = set()
_library_pages: list[Range] = []


def _start(request: Mapping[str, Any], requests: int, replies: int, wakeup: int) -> None:
    started, server = time.perf_counter(), os.getpid()
    pid = os.fork()
    if pid == 0:
        for number in (requests, replies, wakeup):
            os.close(number)
        _become_worker(request, started, server)
    _workers.add(pid)
    _reply(replies, {"pid": pid})


def _become_worker(request: Mapping[str, Any], started: float, server: int) -> NoReturn:
    """In the child: be the worker, and leave without running what the server registered to run at its end."""
    status = 70
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        set_process_option(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != server:  # it died before this process could ask to be told
            os._exit(status)
        with contextlib.suppress(PermissionError):
            os.setsid()
        if "spawn" in request:
            os.execv(request["python"], of_harness(request["python"], "harness.run.worker", request["spawn"]))
        map_again(_library_pages)
        # By name: the worker is imported by nobody (the import rules), this process becomes one.
        status = importlib.import_module("harness.run.worker").main(request["fork"], started)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def _reap(replies: int) -> None:
    """Collect every child that ended; with a worker go all processes that it left, whatever session they are in."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        if pid in _workers:
            _workers.discard(pid)
            kill_group(pid, signal.SIGKILL)
            strays = _end_children()
            _reply(replies, {"pid": pid, "status": os.waitstatus_to_exitcode(status), "strays": strays})


def _end_children() -> int:
    """Kill all descendants of this server, and wait until those that became its children are gone."""
    found = 0
    while left := descendants(os.getpid()):
        found += len(left)
        kill_all(left)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(-1, 0)
    return found


def _wake_on_child() -> int:
    read, write = os.pipe()
    for number in (read, write):
        os.set_blocking(number, False)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    return read


def _private_pipes() -> tuple[int, int]:
    """Move the pipes away from 0 and 1, so that nothing that a library prints reaches the launcher."""
    requests, replies = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    return requests, replies


def _hung_up(requests: int) -> bool:
    """Whether the launcher has gone already, before this process could ask to be told of that."""
    poll = select.poll()
    poll.register(requests, 0)
    return any(event & select.POLLHUP for _, event in poll.poll(0))


def _reply(replies: int, message: Mapping[str, Any]) -> None:
    os.write(replies, json.dumps(message).encode() + b"\n")


def _import(name: str) -> bool:
    try:
        importlib.import_module(name)
    except Exception as error:  # a broken library must fail its own steps, not the server
        print(f"not preloaded: {name}: {error}", file=sys.stderr)
        return False
    return True


if __name__ == "__main__":
    serve(sys.argv[1:])
