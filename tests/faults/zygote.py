"""A process that has imported the harness and forks one process per request, so that a fault costs no start-up.

``python -m faults.zygote MODULES...``. JSON lines: ``{"call": "faults.acts:sweep", "given": {...}, "environ": {...},
"folder": PATH, "out": PATH}`` in; ``{"pid": N}`` and later ``{"pid": N, "status": CODE or -SIGNAL}`` out. What it forks
leads a session of its own, as a command typed into a terminal does, and writes into the file ``out``.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import select
import signal
import sys
import traceback
from typing import Any, NoReturn

from harness.run.processes import PR_SET_PDEATHSIG, set_process_option


def main(modules: list[str]) -> None:
    """Import, say so, and fork until the pipe is closed."""
    requests, replies = os.dup(0), os.dup(1)
    os.dup2(2, 1)
    for name in modules:
        importlib.import_module(name)
    _warm()
    wakeup, write = os.pipe()
    for number in (wakeup, write):
        os.set_blocking(number, False)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _say(replies, {"ready": True})
    buffer = b""
    while True:
        readable, _, _ = select.select([requests, wakeup], [], [])
        if wakeup in readable:
            with contextlib.suppress(BlockingIOError):
                os.read(wakeup, 4096)
        if requests in readable:
            chunk = os.read(requests, 1 << 16)
            if not chunk:
                return
            *lines, buffer = (buffer + chunk).split(b"\n")
            for line in lines:
                _say(replies, {"pid": _fork(json.loads(line), (requests, replies, wakeup, write))})
        _collect(replies)


def _warm() -> None:
    """Ask once what every launcher would ask anew."""
    from harness.run import environment

    environment.machine_facts()
    environment.soft_facts()


def _fork(request: dict[str, Any], pipes: tuple[int, ...]) -> int:
    pid = os.fork()
    if pid == 0:
        for number in pipes:
            os.close(number)
        _become(request)
    return pid


def _become(request: dict[str, Any]) -> NoReturn:
    """In the child: run the call and leave with its exit status."""
    status = 70
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        set_process_option(PR_SET_PDEATHSIG, signal.SIGKILL)
        os.setsid()
        os.environ.update(request["environ"])
        os.chdir(request["folder"])
        _redirect(request["out"])
        module, _, name = request["call"].partition(":")
        status = getattr(importlib.import_module(module), name)(**request["given"]) or 0
    except SystemExit as leaving:
        status = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except BaseException:
        traceback.print_exc()
        status = 1
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def _redirect(out: str) -> None:
    handle = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    null = os.open(os.devnull, os.O_RDONLY)
    for number, target in ((null, 0), (handle, 1), (handle, 2)):
        os.dup2(number, target)
    sys.stdout = os.fdopen(1, "w", buffering=1, closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)


def _collect(replies: int) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        _say(replies, {"pid": pid, "status": os.waitstatus_to_exitcode(status)})


def _say(replies: int, message: dict[str, Any]) -> None:
    os.write(replies, json.dumps(message).encode() + b"\n")


if __name__ == "__main__":
    main(sys.argv[1:])
