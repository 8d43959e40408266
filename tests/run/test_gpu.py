"""What NVML tells of the GPUs beside a step; the driver is a stand-in, for a machine without one."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.results.record import disturbed
from harness.run import contention, gpu, nvml


@dataclass
class Driver:
    """A stand-in for the module ``pynvml``: processes, throttle reasons and seconds slowed, per GPU."""

    processes: list[list[int]] = field(default_factory=lambda: [[], []])
    reasons: int = 0
    slowed: list[int] = field(default_factory=lambda: [0, 0])
    NVML_PERF_POLICY_THERMAL = 1
    nvmlClocksThrottleReasonHwSlowdown = 8
    nvmlClocksThrottleReasonSwPowerCap = 4

    def nvmlInit(self) -> None: ...

    def nvmlShutdown(self) -> None: ...

    def nvmlDeviceGetCount(self) -> int:
        return len(self.processes)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetHandleByUUID(self, name: str) -> int:
        return {"GPU-b": 1}[name]

    def nvmlDeviceGetComputeRunningProcesses(self, handle: int) -> list[Any]:
        return [SimpleNamespace(pid=pid) for pid in self.processes[handle]]

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, handle: int) -> int:
        return self.reasons

    def nvmlDeviceGetViolationStatus(self, handle: int, policy: int) -> Any:
        return SimpleNamespace(violationTime=self.slowed[handle])


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Driver:
    found = Driver()
    monkeypatch.setitem(sys.modules, "pynvml", found)  # type: ignore[arg-type]
    monkeypatch.setattr(nvml, "DRIVER", tmp_path)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return found


def test_own_processes_are_no_contention(driver: Driver) -> None:
    before = gpu.readings()
    driver.processes[0] = [100, 101]
    assert gpu.compare(before, gpu.readings(), [100, 101]) == gpu.GpuContention()


def test_another_process_is_seen_whether_it_was_there_or_came(driver: Driver) -> None:
    driver.processes[1] = [7]
    before = gpu.readings()
    driver.processes[0] = [100, 8]
    assert gpu.compare(before, gpu.readings(), [100]).shared == ("0", "1")


def test_in_a_container_processes_are_counted(driver: Driver) -> None:
    """The driver tells the host's ids, of which none is ours: one is ours all the same, two are not."""
    before = gpu.readings()
    driver.processes[0] = [90_001]
    assert gpu.compare(before, gpu.readings(), [100]).shared == ()
    driver.processes[0] = [90_001, 90_002]
    assert gpu.compare(before, gpu.readings(), [100]).shared == ("0",)


def test_heat_is_seen_at_the_end_and_between(driver: Driver) -> None:
    before = gpu.readings()
    assert gpu.compare(before, gpu.readings(), []).slowed == ()
    driver.slowed[1] = 2_000_000_000
    assert gpu.compare(before, gpu.readings(), []).slowed == ("1",)
    driver.reasons = driver.nvmlClocksThrottleReasonSwPowerCap
    assert gpu.compare(gpu.readings(), gpu.readings(), []).slowed == ()
    driver.reasons |= driver.nvmlClocksThrottleReasonHwSlowdown
    assert gpu.compare(gpu.readings(), gpu.readings(), []).slowed == ("0", "1")


@pytest.mark.parametrize(
    ("visible", "names"), [("", []), ("1", ["1"]), ("GPU-b,0", ["GPU-b", "0"]), (None, ["0", "1"])]
)
def test_only_the_visible_gpus_count(
    driver: Driver, monkeypatch: pytest.MonkeyPatch, visible: str | None, names: list[str]
) -> None:
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert list(gpu.readings()) == names


def test_a_driver_that_fails_tells_nothing(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "nvmlDeviceGetComputeRunningProcesses", None)
    assert gpu.readings() == {}
    monkeypatch.setattr(driver, "nvmlInit", None)
    assert gpu.readings() == {}


def test_a_shared_or_hot_gpu_makes_the_times_disturbed(driver: Driver) -> None:
    before = contention.usage()
    driver.processes[0], driver.slowed[1] = list(range(2**22, 2**22 + 200)), 10  # more than this test run has
    flags = contention.compare(before, contention.usage()).flags()
    assert "contention: other processes were on GPU 0" in flags
    assert "throttling: GPU 1 was slowed for its heat or power supply" in flags
    for flag in flags[-2:]:
        assert disturbed({"flags": [flag]})
