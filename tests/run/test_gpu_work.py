"""Energy, clocks and the device's own step times, on a stand-in for a GPU: what the meter makes of what it is told."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.run import canary, gpu_work, memory, meter, nvml
from harness.run.meter import Meter

WATTS = 250.0


class Driver:
    """A stand-in for ``pynvml``: one GPU that takes ``WATTS`` all the time and is held at its power limit."""

    NVML_CLOCK_SM, NVML_CLOCK_MEM = 1, 2
    nvmlClocksThrottleReasonSwPowerCap = 4
    nvmlClocksThrottleReasonHwSlowdown = 8

    def nvmlInit(self) -> None: ...

    def nvmlShutdown(self) -> None: ...

    def nvmlDeviceGetCount(self) -> int:
        return 1

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: int) -> int:
        return int(time.perf_counter() * WATTS * 1000)

    def nvmlDeviceGetPowerUsage(self, handle: int) -> int:
        return int(WATTS * 1000)

    def nvmlDeviceGetClockInfo(self, handle: int, kind: int) -> int:
        return {1: 1755, 2: 3201}[kind]

    def nvmlDeviceGetMaxClockInfo(self, handle: int, kind: int) -> int:
        return 1980

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, handle: int) -> int:
        return 4

    def nvmlDeviceGetComputeRunningProcesses(self, handle: int) -> list[Any]:
        return []


class Event:
    """A moment on the stand-in's clock, which is the host's."""

    def __init__(self, enable_timing: bool) -> None:
        self.at = 0.0

    def record(self) -> None:
        self.at = time.perf_counter()

    def elapsed_time(self, later: Event) -> float:
        return (later.at - self.at) * 1000


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Driver]:
    found = Driver()
    monkeypatch.setitem(sys.modules, "pynvml", found)  # type: ignore[arg-type]
    monkeypatch.setattr(nvml, "DRIVER", tmp_path)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    device = SimpleNamespace(
        device_count=lambda: 1, synchronize=lambda device: None, Event=Event,
        memory_stats=lambda device: {"allocated_bytes.all.peak": 5}, reset_peak_memory_stats=lambda device: None,
    )  # fmt: skip
    monkeypatch.setattr(memory, "cuda", lambda: device)
    monkeypatch.setattr(meter, "SHORTEST_SECONDS", 0.0)
    yield found


def train(metered: Meter, steps: int = 20, evaluated: int | None = None) -> dict[str, Any]:
    """Steps of some milliseconds; within step ``evaluated`` another span is open for a while."""
    with metered.span("train"):
        for step in range(steps):
            metered.step_begin()
            time.sleep(0.003)
            if step == evaluated:
                with metered.span("evaluate"):
                    time.sleep(0.05)
            metered.step_end(tokens=8, nonpadding_tokens=8, loss_tokens=8)
            metered.step_loss(step + 1, 2.0 - step / 100)
    return metered.finish()


def test_energy_and_power_are_those_of_the_training(driver: Driver) -> None:
    found = train(Meter())
    assert found["metrics"]["gpu_power_watts"] == pytest.approx(WATTS, rel=0.15)
    assert found["metrics"]["gpu_energy_joules"] >= 20 * 0.003 * WATTS * 0.99
    assert found["observed"]["gpu_state"] == {
        "0": {"power_watts": 250.0, "clock_mhz": 1755, "highest_clock_mhz": 1980, "memory_clock_mhz": 3201,
              "reasons": ["SwPowerCap"]},
    }  # fmt: skip


def test_a_step_has_the_device_s_seconds_beside_the_clock_s(driver: Driver) -> None:
    found = train(Meter())
    device, wall = found["metrics"]["cuda_step_seconds"], found["metrics"]["step_seconds"]
    assert 0.003 <= device <= wall
    assert len(found["samples"]["cuda_step_seconds"]) == 20 - 3


def test_a_step_in_which_something_else_was_done_has_none(driver: Driver) -> None:
    found = train(Meter(), evaluated=10)
    assert len(found["samples"]["cuda_step_seconds"]) == 20 - 3 - 1
    assert max(found["samples"]["cuda_step_seconds"]) < 0.05


def test_clocks_that_disagree_make_the_measurement_invalid(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Event, "elapsed_time", lambda self, later: 60_000.0)
    metered = Meter()
    train(metered)
    assert metered.invalid is not None and "by the GPU's events" in metered.invalid


def test_work_within_the_work_is_told_once(driver: Driver) -> None:
    metered = Meter()
    with metered.span("train"), metered.span("generate"):
        time.sleep(0.02)
    spans = metered.timeline.spans
    assert "inspect" in spans and metered.metrics["gpu_energy_joules"] >= 0.02 * WATTS * 0.99


def test_what_a_driver_does_not_tell_is_left_out(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "nvmlDeviceGetTotalEnergyConsumption", None)
    monkeypatch.setattr(driver, "nvmlDeviceGetClockInfo", None)
    found = train(Meter())
    assert not [name for name in found["metrics"] if name.startswith("gpu_")]
    assert found["observed"]["gpu_state"]["0"] == {
        "power_watts": 250.0, "highest_clock_mhz": 1980, "reasons": ["SwPowerCap"]
    }  # fmt: skip


def test_short_work_tells_no_energy(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meter, "SHORTEST_SECONDS", gpu_work.SHORTEST_SECONDS)
    assert "gpu_energy_joules" not in train(Meter())["metrics"]


def test_without_a_gpu_nothing_is_told() -> None:
    found = train(Meter())
    assert not [name for name in found["metrics"] if name.startswith(("gpu_", "cuda_"))]
    assert "gpu_state" not in found["observed"] and "inspect" not in {span["name"] for span in found["spans"]}


def test_the_canary_of_a_gpu(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    """torch with its device replaced by the CPU: the products are real, and float32 ones are taken without TF32."""
    import torch

    monkeypatch.setattr(canary, "GPU_SIZE", 64)
    monkeypatch.setattr(canary, "GPU_COPY_BYTES", 1000)
    used = SimpleNamespace(allow_tf32=True)
    allowed: list[bool] = []

    def product(*given: Any, out: Any) -> Any:
        allowed.append(used.allow_tf32)
        return torch.mm(*given, out=out)

    fake = SimpleNamespace(
        Generator=lambda device: torch.Generator(), mm=product, empty_like=torch.empty_like, uint8=torch.uint8,
        randn=lambda *sizes, device, generator: torch.randn(*sizes, generator=generator),
        randint=lambda high, size, dtype, device, generator: torch.randint(high, size, generator=generator).to(dtype),
        backends=SimpleNamespace(cuda=SimpleNamespace(matmul=used)),
        cuda=SimpleNamespace(Event=Event, synchronize=lambda: None),
    )  # fmt: skip
    metered = Meter()
    canary._on_gpu(metered, fake)
    assert set(metered.metrics) == {
        "canary_gpu_matmul_seconds", "canary_gpu_bf16_matmul_seconds", "canary_gpu_copy_seconds"
    }  # fmt: skip
    assert all(len(values) == canary.REPEATS and min(values) >= 0 for values in metered.samples.values())
    assert not any(allowed) and used.allow_tf32
