"""What the GPUs themselves say of the work: their energy, clocks and limits, and their own clock for each step.

Energy is the difference of the driver's counter, which moves some ten times a second: shorter work tells none. A step's
seconds by CUDA events are those of the device, from its first kernel to its last; what the host's clock has more is the
host's own time.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from harness.run import memory
from harness.run.nvml import each_gpu

SHORTEST_SECONDS = 1.0
# Why a GPU does not run at its highest clock, by NVML's names for the bits.
REASONS = (
    "GpuIdle", "ApplicationsClocksSetting", "SwPowerCap", "HwSlowdown", "SyncBoost", "SwThermalSlowdown",
    "HwThermalSlowdown", "HwPowerBrakeSlowdown", "DisplayClockSetting",
)  # fmt: skip


@dataclass(frozen=True)
class GpuState:
    """One moment of one GPU; None where its driver does not tell. ``reasons``: why its clock is not at its highest."""

    energy_joules: float | None = None
    power_watts: float | None = None
    clock_mhz: int | None = None
    highest_clock_mhz: int | None = None
    memory_clock_mhz: int | None = None
    reasons: tuple[str, ...] = ()


def states() -> dict[str, GpuState]:
    """The GPUs that this process may use, now."""
    return each_gpu(_state)


def energy(before: Mapping[str, GpuState], after: Mapping[str, GpuState]) -> float | None:
    """Joules that the GPUs took between two moments, all together; None where one of them does not tell."""
    spent = 0.0
    for name, now in after.items():
        then = before.get(name, GpuState()).energy_joules
        if now.energy_joules is None or then is None:
            return None
        spent += now.energy_joules - then
    return spent if after else None


def as_observed(found: Mapping[str, GpuState]) -> dict[str, Any]:
    """Clocks, power and limits of each GPU, for a record."""
    return {
        name: {key: value for key, value in asdict(state).items() if key != "energy_joules" and value is not None}
        for name, state in found.items()
    }


class DeviceClock:
    """Times optimiser steps by CUDA events, where a GPU is in use; read when all is done, so that nothing waits."""

    def __init__(self) -> None:
        self._begun: Any = None
        self._pairs: list[tuple[Any, Any] | None] = []

    def begin(self) -> None:
        """Mark the beginning of a step on the device."""
        self._begun = _event()

    def end(self, *, whole: bool) -> None:
        """Mark its end; a step that was interrupted by other work is not ``whole`` and has no time."""
        begun, self._begun = self._begun, None
        self._pairs.append((begun, _event()) if begun is not None and whole else None)

    def seconds(self) -> list[float | None]:
        """Seconds of each step so far, None where the device has none for it."""
        return [None if pair is None else pair[0].elapsed_time(pair[1]) / 1000 for pair in self._pairs]


def _event() -> Any:
    module = memory.cuda()
    if module is None:
        return None
    event = module.Event(enable_timing=True)
    event.record()
    return event


def _state(nvml: Any, handle: Any) -> GpuState:
    def told(ask: Callable[[], Any]) -> Any:
        with contextlib.suppress(Exception):  # each of them is missing on some GPU
            return ask()
        return None

    joules = told(lambda: nvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1e3)
    watts = told(lambda: nvml.nvmlDeviceGetPowerUsage(handle) / 1e3)
    bits = told(lambda: nvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle)) or 0
    return GpuState(
        joules,
        watts,
        told(lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM)),
        told(lambda: nvml.nvmlDeviceGetMaxClockInfo(handle, nvml.NVML_CLOCK_SM)),
        told(lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_MEM)),
        tuple(name for name in REASONS if bits & getattr(nvml, f"nvmlClocksThrottleReason{name}", 0)),
    )
