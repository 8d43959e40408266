"""The preloaded server: a clean process that has imported the libraries and forks or starts one worker per request.

Started by the launcher with the thread environment already set. It never runs a torch operator and opens no device: a
worker forked after that hangs. It reaps everything that a worker leaves behind. When its launcher dies it ends all of
them first, those in sessions of their own too, and then itself.

Protocol, JSON lines: ``{"fork": JOB}`` or ``{"spawn": JOB, "python": PATH}`` in; ``{"ready": [...]}``,
``{"pid": N}`` and ``{"pid": N, "status": CODE or -SIGNAL, "strays": N}`` out. One worker at a time.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import select
import signal
import sys
import time
from collections.abc import Mapping
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


def serve(preload: list[str]) -> None:
    """Import ``preload``, say so, and answer requests until the launcher closes the pipe."""
    requests, replies = _private_pipes()
    set_process_option(PR_SET_PDEATHSIG, signal.SIGKILL)  # so far there is nothing to end but this process
    if _hung_up(requests):
        return
    set_process_option(PR_SET_CHILD_SUBREAPER, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    loaded = [name for name in preload if _import(name)]
    for name in _PLUMBING if preload else _PLUMBING[:1]:
        _import(name)
    if preload:
        importlib.import_module("harness.run.environment").soft_facts()
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
