"""Ray as the engine: one task per step on a node that gives its one ``measuring`` token to it.

The token is a custom resource that a node declares when it is started. Ray's own CPUs are counted too, but they would
let two steps with few threads onto one machine, and a step that asks for all CPUs of one node fits no other.
"""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import environments
from harness.contract import param
from harness.errors import UsageError
from harness.plan.machine import Machine
from harness.results.record import write_file
from harness.run.engines import Demand, Ended, demand_of, ended
from harness.run.failures import one_line
from harness.run.node import answer, carry_out, harness_here, look

TOKEN = "measuring"
START = f"""RAY_worker_niceness=0 ray start --resources='{{"{TOKEN}": 1}}' --address=HEAD:6379"""
LOOK_SECONDS = 120.0
KNOCK_SECONDS = 5.0
# Variables of the launcher that the steps need as well.
PASSED_ON = ("PYTHONPATH", "HARNESS_ENVIRONMENTS", "HF_HOME", "HF_HUB_CACHE")


@dataclass(frozen=True)
class Options:
    """What ``--launcher-option`` may say."""

    address: str = param("auto", "the cluster's address; auto is RAY_ADDRESS or the one on this machine")
    accelerator_type: str | None = param(None, "the GPUs that steps on GPUs need, as Ray names them")
    cpus: int | None = param(None, "CPUs that a step asks for in place of its threads", low=1)
    turns: bool = param(True, "wait for a step of a local launcher on the same machine")


class Ray:
    """A connection to a running cluster."""

    name = "ray"

    def __init__(self, options: Options, client: Any) -> None:
        self._options = options
        self._ray = client
        self._tasks: dict[Any, tuple[str, Demand]] = {}
        self._unsure = False
        self._variables = {name: os.environ[name] for name in PASSED_ON if name in os.environ}

    def machine(self) -> Machine:
        """See ``Engine``; what Ray counts as a node's memory is no machine's, so memory is not known."""
        resources = [node["Resources"] for node in self._nodes()]
        most = {name: int(max((found.get(name, 0) for found in resources), default=0)) for name in ("CPU", "GPU")}
        return Machine(cores=most["CPU"], cuda_devices=most["GPU"], environments=environments.ready())

    def check(self, cache: Path) -> None:
        """See ``Engine``: every node with a token reads a file that is written here, and has the same harness."""
        nodes = self._nodes()
        if not nodes:
            raise UsageError(f"no node of the Ray cluster has the resource '{TOKEN}'; start each with {START}")
        for node in nodes:
            if node["Resources"][TOKEN] != 1:
                raise UsageError(f"Ray node {_name(node)} has {node['Resources'][TOKEN]:g} of '{TOKEN}': it must be 1")
        probe, text = cache / f"probe-{secrets.token_hex(6)}", secrets.token_hex(16)
        write_file(probe, text)
        try:
            for node, told in zip(nodes, self._looked(nodes, probe), strict=True):
                _check(f"Ray node {_name(node)}", told, text, cache)
        finally:
            probe.unlink(missing_ok=True)

    def lacks(self, demand: Demand) -> str | None:
        """See ``Engine``."""
        kind = self._kind(demand)
        for node in self._nodes():
            found = node["Resources"]
            enough = found.get("CPU", 0) >= self._cpus(demand) and found.get("GPU", 0) >= demand.gpus
            if enough and (kind is None or f"accelerator_type:{kind}" in found):
                return None
        return f"no node of the Ray cluster has {demand.text}{f' of type {kind}' if kind else ''}"

    def room(self, demand: Demand) -> int:
        """See ``Engine``: as many as there are nodes, and as many again, so that no node waits for this process."""
        return max(2, 2 * len(self._nodes()))

    def start(self, jobs: Sequence[tuple[Mapping[str, Any], Path]]) -> None:
        """See ``Engine``."""
        if self._unsure:
            self._await_answers()
        for job, file in jobs:
            demand = demand_of(job)
            task = self._ray.remote(carry_out).options(
                name=job["step"], num_cpus=self._cpus(demand), num_gpus=demand.gpus, resources={TOKEN: 1},
                accelerator_type=self._kind(demand), max_retries=0, scheduling_strategy="SPREAD",
            )  # fmt: skip
            self._tasks[task.remote(str(file), self._options.turns, self._variables)] = job["step"], demand

    def wait(self, seconds: float) -> list[Ended]:
        """See ``Engine``."""
        if not self._tasks:
            return []
        ready, _ = self._ray.wait(list(self._tasks), timeout=seconds)
        if ready:
            ready, _ = self._ray.wait(list(self._tasks), num_returns=len(self._tasks), timeout=0)
            return [self._ended(task) for task in ready]
        return self._stranded()

    def cancel(self) -> None:
        """See ``Engine``; Ray raises ``KeyboardInterrupt`` in what runs, which ends the step's own launcher."""
        for task in self._tasks:
            self._ray.cancel(task, force=False)

    def close(self) -> None:
        """See ``Engine``."""
        self._ray.shutdown()

    def _nodes(self) -> list[dict[str, Any]]:
        """The nodes that are alive and have a token."""
        return [node for node in self._ray.nodes() if node["Alive"] and node["Resources"].get(TOKEN)]

    def _cpus(self, demand: Demand) -> int:
        return self._options.cpus or demand.cpus or 1

    def _kind(self, demand: Demand) -> str | None:
        return self._options.accelerator_type if demand.gpus else None

    def _ended(self, task: Any) -> Ended:
        step, _ = self._tasks.pop(task)
        try:
            told = self._ray.get(task)
        except self._ray.exceptions.RayTaskError as error:
            return Ended(step, failed=one_line(str(error).strip().splitlines()[-1]))
        except self._ray.exceptions.RayError as error:
            self._unsure = True
            return Ended(step, lost=_why(error))
        return ended(step, told)

    def _await_answers(self) -> None:
        """Block until every node that Ray counts as alive has answered: a dead one is counted until some of its health
        checks were missed, and would be given the lost step again."""
        tasks = self._on_each(self._nodes(), answer)
        self._ray.wait(tasks, num_returns=len(tasks), timeout=LOOK_SECONDS)
        self._unsure = False

    def _stranded(self) -> list[Ended]:
        """Tasks that wait for a node that is gone would wait for ever: Ray keeps them for one that may join."""
        found = []
        for task, (step, demand) in list(self._tasks.items()):
            if self.lacks(demand):
                self._ray.cancel(task, force=True)
                del self._tasks[task]
                found.append(Ended(step, lost="the last node that could run it is gone"))
        return found

    def _on_each(self, nodes: Sequence[Mapping[str, Any]], function: Callable[..., Any], *arguments: Any) -> list[Any]:
        """Tasks that call a function on each node."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy as Affinity

        remote, free = self._ray.remote(function), {"num_cpus": 0, "max_retries": 0}
        places = [Affinity(node["NodeID"], soft=False) for node in nodes]
        return [remote.options(**free, scheduling_strategy=place).remote(*arguments) for place in places]

    def _looked(self, nodes: Sequence[Mapping[str, Any]], probe: Path) -> list[Any]:
        try:
            found: list[Any] = self._ray.get(self._on_each(nodes, look, str(probe)), timeout=LOOK_SECONDS)
        except self._ray.exceptions.GetTimeoutError:
            raise UsageError(f"not every node of the Ray cluster has answered within {LOOK_SECONDS:.0f} s") from None
        except self._ray.exceptions.RayError as error:
            raise UsageError(
                f"a node of the Ray cluster cannot run the harness: {_why(error)}; install it there as it is here"
            ) from None
        return found


def connect(options: Options) -> Ray:
    """Connect to the cluster; ``UsageError`` where the package is missing or there is none."""
    try:
        import ray
    except ImportError:
        raise UsageError("--launcher ray needs a package: pip install 'llm-technique-harness[ray]'") from None
    if ray.is_initialized():
        raise UsageError("this process is connected to a Ray cluster already")
    address = os.environ.get("RAY_ADDRESS", "auto") if options.address == "auto" else options.address
    try:
        _knock(address)
        ray.init(address=address, log_to_driver=False, logging_level="ERROR", configure_logging=False)
    except (OSError, ValueError, RuntimeError) as error:
        raise UsageError(
            f"no Ray cluster at '{address}' ({one_line(str(error), 120)}); start one: ray start --head, and on each "
            f"machine {START}"
        ) from None
    return Ray(options, ray)


def _knock(address: str) -> None:
    """``OSError`` where nobody listens, or ``ValueError`` for no address: Ray itself would try for minutes."""
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    if "/" in address or not port.isdigit():
        raise ValueError("an address is HOST:PORT of the head, and this process must be on a node of the cluster")
    socket.create_connection((host, int(port)), timeout=KNOCK_SECONDS).close()


def _check(where: str, told: Mapping[str, Any], text: str, cache: Path) -> None:
    if told["text"] != text:
        raise UsageError(
            f"{where} does not see {cache.parent}; give --results a folder that every machine has under the same path"
        )
    if told["harness"] != (here := harness_here()):
        raise UsageError(f"{where} has another harness than this machine: {told['harness']}, not {here}")
    if told["niceness"]:
        raise UsageError(f"{where} would run steps at niceness {told['niceness']}; start it with {START}")


def _name(node: Mapping[str, Any]) -> str:
    return str(node.get("NodeName") or node["NodeID"])


def _why(error: Exception) -> str:
    """An error of Ray in one line: its messages are paragraphs, with the cause first."""
    lines = [line for line in str(error).splitlines() if line.strip()] or ["no more is known"]
    return one_line(f"{type(error).__name__}: {lines[-1 if 'Traceback' in str(error) else 0]}", 200)


