"""Whether something else used the machine while a step ran, or slowed it: processes, the hypervisor, memory, heat.

The meter takes one ``Usage`` at the start and one at the end; a reader must see a disturbed number flagged.
"""

from __future__ import annotations

import contextlib
import os
import resource
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness.run import gpu
from harness.run.memory import status_bytes
from harness.run.processes import control_group, counter_of, cpu_seconds, quick_descendants

OTHERS_LIMIT = 0.05  # share of the cores; one busy neighbour of two cores is 0.5
STEAL_LIMIT = 0.01
SWITCHES_LIMIT = 200.0  # involuntary context switches per CPU second; an undisturbed step has some tens
STALLED_LIMIT = 0.02  # share of the time in which some process of the machine waited for memory
HELD_BACK_LIMIT = 0.02  # share of the time in which the control group's CPU quota let nothing run
SHORTEST_SECONDS = 0.5  # the kernel counts in ticks of 10 ms, so shares of shorter steps say nothing
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Usage:
    """What the cores, this process and the launcher had used at one moment, in seconds and counts."""

    wall: float
    busy: float
    steal: float
    own: float
    supervisors: float
    switches: int
    swapped_in: int
    swap_bytes: int
    stalled: float = 0.0
    held_back: float = 0.0
    overheated: int = 0
    gpus: Mapping[str, gpu.GpuReading] = field(default_factory=dict)


@dataclass(frozen=True)
class Contention:
    """What happened beside a step. Shares are of the wall time (``others``, ``steal``: times the cores)."""

    others_share: float
    supervisor_share: float
    steal_share: float
    switches_per_second: float
    swapped: bool
    seconds: float
    stalled_share: float = 0.0
    held_back_share: float = 0.0
    overheated: int = 0
    gpus: gpu.GpuContention = field(default_factory=gpu.GpuContention)

    def flags(self) -> list[str]:
        """Validity flags that a reader of the step's speed must see."""
        found = []
        if self.seconds >= SHORTEST_SECONDS:
            if self.others_share > OTHERS_LIMIT:
                found.append(f"contention: other processes used {self.others_share:.0%} of the cores")
            if self.steal_share > STEAL_LIMIT:
                found.append(f"contention: the hypervisor took {self.steal_share:.0%} of the cores")
            if self.switches_per_second > SWITCHES_LIMIT:
                found.append(f"contention: {self.switches_per_second:.0f} involuntary switches per CPU second")
            if self.stalled_share > STALLED_LIMIT:
                found.append(f"memory pressure: processes waited for memory {self.stalled_share:.0%} of the time")
            if self.held_back_share > HELD_BACK_LIMIT:
                share = f"{self.held_back_share:.0%}"
                found.append(f"quota: the control group's CPU quota held the step back {share} of the time")
        if self.swapped:
            found.append("swapping: memory was read back from swap")
        if self.overheated:
            found.append(f"throttling: the processor was slowed for its heat {self.overheated} times")
        found += [f"contention: other processes were on GPU {name}" for name in self.gpus.shared]
        found += [f"throttling: GPU {name} was slowed for its heat or power supply" for name in self.gpus.slowed]
        return found


def usage(supervisors: tuple[int, ...] = ()) -> Usage:
    """Read the counters now; ``supervisors`` are the launcher and its server."""
    busy, steal = _cores_busy()
    own = os.times()
    children = sum(cpu_seconds(pid) for pid in quick_descendants(os.getpid()))
    return Usage(
        wall=time.perf_counter(),
        busy=busy,
        steal=steal,
        own=own.user + own.system + own.children_user + own.children_system + children,
        supervisors=sum(cpu_seconds(pid) for pid in supervisors),
        switches=resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw,
        swapped_in=counter_of("/proc/vmstat", "pswpin"),
        swap_bytes=status_bytes("VmSwap"),
        stalled=_memory_stalled(),
        held_back=counter_of(str(control_group() / "cpu.stat"), "throttled_usec") / 1e6,
        overheated=_overheated(),
        gpus=gpu.readings(),
    )


def compare(before: Usage, after: Usage) -> Contention:
    """What happened between two readings."""
    wall = max(after.wall - before.wall, 1e-9)
    capacity = wall * max(1, len(os.sched_getaffinity(0)))
    own = after.own - before.own
    supervisors = after.supervisors - before.supervisors
    others = after.busy - before.busy - own - supervisors
    return Contention(
        others_share=max(0.0, others / capacity),
        supervisor_share=max(0.0, supervisors / wall),
        steal_share=max(0.0, (after.steal - before.steal) / capacity),
        switches_per_second=(after.switches - before.switches) / max(own, SHORTEST_SECONDS),
        swapped=after.swapped_in > before.swapped_in or after.swap_bytes > before.swap_bytes,
        seconds=wall,
        stalled_share=max(0.0, (after.stalled - before.stalled) / wall),
        held_back_share=max(0.0, (after.held_back - before.held_back) / wall),
        overheated=after.overheated - before.overheated,
        gpus=gpu.compare(dict(before.gpus), dict(after.gpus), own_processes()),
    )


def own_processes() -> list[int]:
    """This process and those that it started."""
    return [os.getpid(), *quick_descendants(os.getpid())]


def _memory_stalled() -> float:
    """Seconds in which at least one process of the machine waited for memory; 0 where the kernel does not tell."""
    try:
        line = Path("/proc/pressure/memory").read_text().splitlines()[0]
        return int(line.rpartition("total=")[2]) / 1e6
    except (OSError, ValueError, IndexError):
        return 0.0


def _overheated() -> int:
    """How often the allowed cores were slowed for heat since the machine started; 0 where the kernel does not tell."""
    total = 0
    for number in os.sched_getaffinity(0):
        with contextlib.suppress(OSError, ValueError):
            total += int(Path(f"/sys/devices/system/cpu/cpu{number}/thermal_throttle/core_throttle_count").read_text())
    return total


def _cores_busy() -> tuple[float, float]:
    """Busy and stolen seconds of the cores that this process may use (a container's other cores do not count)."""
    allowed = {f"cpu{number}" for number in os.sched_getaffinity(0)}
    busy = steal = 0
    with Path("/proc/stat").open() as file:
        for line in file:
            name, *fields = line.split()
            if name in allowed:
                user, nice, system, _idle, _wait, interrupts, soft, stolen = map(int, fields[:8])
                busy += user + nice + system + interrupts + soft
                steal += stolen
    return busy / _TICKS, steal / _TICKS
