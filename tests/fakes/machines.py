"""A fake engine: some machines, each a process that carries out one step at a time and may be killed at any moment."""

from __future__ import annotations

import json
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.plan.machine import Machine
from harness.run.engines import Demand, Ended, ended

CARRY_OUT = """
import json, sys
from harness.run.node import carry_out
print(json.dumps(carry_out(sys.argv[1], False, {})))
"""
Lose = Callable[[Mapping[str, Any]], bool]


class Machines:
    """``count`` machines. A job for which ``lose`` is true is taken, and its machine burns down at once."""

    name = "machines"

    def __init__(self, count: int, lose: Lose = lambda job: False, gpus: int = 0) -> None:
        self.count, self.lose, self.gpus = count, lose, gpus
        self.running: dict[str, subprocess.Popen[str]] = {}
        self.handed_out: list[str] = []
        self.most_at_once = 0
        self._waiting: list[tuple[str, Path]] = []
        self._ended: queue.Queue[tuple[str, str | None]] = queue.Queue()

    def machine(self) -> Machine:
        return Machine(cores=2, cuda_devices=self.gpus)

    def check(self, cache: Path) -> None:
        assert cache.is_absolute()

    def lacks(self, demand: Demand) -> str | None:
        return f"no machine has {demand.gpus} GPUs" if demand.gpus > self.gpus else None

    def room(self, demand: Demand) -> int:
        return 2 * self.count

    def start(self, jobs: Sequence[tuple[Mapping[str, Any], Path]]) -> None:
        for job, file in jobs:
            self.handed_out.append(job["step"])
            if self.lose(job):
                self._ended.put((job["step"], None))
            else:
                self._waiting.append((job["step"], file))
        self._fill()

    def wait(self, seconds: float) -> list[Ended]:
        try:
            step, told = self._ended.get(timeout=seconds)
        except queue.Empty:
            return []
        self.running.pop(step, None)
        self._fill()
        if not told:
            return [Ended(step, lost="it burnt down")]
        return [ended(step, json.loads(told))]

    def cancel(self) -> None:
        for step, _ in self._waiting:
            self._ended.put((step, None))
        self._waiting = []
        for process in self.running.values():
            process.send_signal(signal.SIGINT)

    def close(self) -> None:
        pass

    def _fill(self) -> None:
        while self._waiting and len(self.running) < self.count:
            step, file = self._waiting.pop(0)
            process = subprocess.Popen(
                [sys.executable, "-c", CARRY_OUT, str(file)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                text=True, start_new_session=True,
            )  # fmt: skip
            self.running[step] = process
            self.most_at_once = max(self.most_at_once, len(self.running))
            threading.Thread(target=self._await, args=(step, process), daemon=True).start()

    def _await(self, step: str, process: subprocess.Popen[str]) -> None:
        self._ended.put((step, process.communicate()[0]))
