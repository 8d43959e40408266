"""A fake technique that says where it was and when: the node, the devices that it saw, and the monotonic clock."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from harness.contract import Adapter, Checkpoint, Job, param


class Seen(Adapter):
    """Sleeps, and tells."""

    summary = "says where and when it ran"
    takes = frozenset()
    gives = frozenset({"model"})

    @dataclass(frozen=True)
    class Params:
        """How long."""

        seconds: float = param(0.3, "how long it takes")
        slow_node: str = param("", "a node on which it takes six seconds more")
        path: str = param("", "a file that gets a line each time it runs")

    def train(self, job: Job) -> Checkpoint:
        """Sleep between two readings of the clock, which all processes of a machine share."""
        began = time.monotonic()
        told = {"node": os.environ.get("HARNESS_TEST_NODE"), "devices": os.environ.get("CUDA_VISIBLE_DEVICES")}
        print(f"on node {told['node']}", flush=True)
        if self.params.path:
            with Path(self.params.path).open("a") as file:
                file.write(f"{began}\n")
        time.sleep(self.params.seconds + 6.0 * (told["node"] == self.params.slow_node))
        job.meter.observe("seen", told | {"began": began, "ended": time.monotonic()})
        (job.part("model") / "config.json").write_text("{}")
        return job.checkpoint.with_parts(kind="causal", model=job.output / "model")

    def eval(self, job: Job) -> None:
        """Nothing to open."""
