"""What else happened on the GPUs that a step may use, by the driver's own account (NVML): other processes, and heat.

Process ids are the host's, also inside a container, where they match none of ours; then processes are counted.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from harness.run.nvml import each_gpu

# Clocks held down by heat or by the power supply; a power limit is no fault, large GPUs live at theirs.
_SLOWED = (
    "nvmlClocksThrottleReasonHwSlowdown", "nvmlClocksThrottleReasonSwThermalSlowdown",
    "nvmlClocksThrottleReasonHwThermalSlowdown", "nvmlClocksThrottleReasonHwPowerBrakeSlowdown",
)  # fmt: skip


@dataclass(frozen=True)
class GpuReading:
    """One moment of one GPU: the processes that compute on it, and whether (and for how long so far) it is slowed."""

    processes: frozenset[int] = frozenset()
    slowed: bool = False
    slowed_seconds: float = 0.0


@dataclass(frozen=True)
class GpuContention:
    """What happened between two readings, by the names of the GPUs."""

    shared: tuple[str, ...] = field(default=())
    slowed: tuple[str, ...] = field(default=())


def readings() -> dict[str, GpuReading]:
    """The GPUs that this process may use, by index or unique name; empty where there is none or no NVML."""
    return each_gpu(_reading)


def compare(before: dict[str, GpuReading], after: dict[str, GpuReading], own: Collection[int]) -> GpuContention:
    """What happened beside this step, whose processes are ``own``; before it none of them had a GPU open."""
    shared, slowed = [], []
    for name, now in after.items():
        then = before.get(name, GpuReading())
        came = now.processes - then.processes
        others = len(came - set(own)) if came & set(own) else len(came) - len(own)
        if then.processes or others > 0:
            shared.append(name)
        if now.slowed or now.slowed_seconds > then.slowed_seconds:
            slowed.append(name)
    return GpuContention(tuple(shared), tuple(slowed))


def _reading(nvml: Any, handle: Any) -> GpuReading:
    processes = frozenset(int(each.pid) for each in nvml.nvmlDeviceGetComputeRunningProcesses(handle))
    slowed, seconds = False, 0.0
    with contextlib.suppress(Exception):  # not every GPU tells each of the two
        reasons = nvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle)
        slowed = any(reasons & getattr(nvml, name, 0) for name in _SLOWED)
    with contextlib.suppress(Exception):
        status = nvml.nvmlDeviceGetViolationStatus(handle, nvml.NVML_PERF_POLICY_THERMAL)
        seconds = status.violationTime / 1e9
    return GpuReading(processes, slowed, seconds)
