"""Energy, clocks and the device's own step times, on a stand-in for a GPU: what the meter makes of what it is told."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.run import canary, gpu_work, memory, meter, nvml
from harness.run.meter import Meter
from tests.fakes.clock import Clock

WATTS = 250.0
CLOCK = Clock()


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
        return int(CLOCK() * WATTS * 1000)

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
    """A moment on the stand-in's clock, which is the meter's."""

    def __init__(self, enable_timing: bool) -> None:
        self.at = 0.0

    def record(self) -> None:
        self.at = CLOCK()

    def elapsed_time(self, later: Event) -> float:
        return (later.at - self.at) * 1000


class Device:
    """A stand-in for ``torch.cuda``: ``peak`` is what its allocator tells; ``failed`` is after a kernel's error."""

    Event = Event

    def __init__(self) -> None:
        self.count, self.peak, self.held = 1, 5, 7
        self.open, self.failed = True, False
        self.touched: set[int] = set()

    def device_count(self) -> int:
        return self.count

    def synchronize(self, device: int) -> None:
        self._touch(device)

    def memory_stats(self, device: int) -> dict[str, int]:
        self._touch(device)
        return {f"{name}_bytes.all.peak": self.peak for name in ("allocated", "reserved", "active")}

    def memory_allocated(self, device: int) -> int:
        self._touch(device)
        return self.held

    def reset_peak_memory_stats(self, device: int) -> None:
        self._touch(device)

    def _touch(self, device: int) -> None:
        self.touched.add(device)
        if self.failed:
            raise RuntimeError("CUDA error: device-side assert triggered")


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Device:
    found = Device()
    monkeypatch.setattr(memory, "cuda", lambda: found if found.open else None)
    return found


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, device: Device) -> Iterator[Driver]:
    found = Driver()
    monkeypatch.setitem(sys.modules, "pynvml", found)  # type: ignore[arg-type]
    monkeypatch.setattr(nvml, "DRIVER", tmp_path)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(meter, "SHORTEST_SECONDS", 0.0)
    yield found


def train(metered: Meter, steps: int = 20, evaluated: int | None = None) -> dict[str, Any]:
    """Steps of some milliseconds; within step ``evaluated`` another span is open for a while."""
    with metered.span("train"):
        train_steps(metered, steps, evaluated)
    return metered.finish() if metered.timeline.current() is None else {}


def train_steps(metered: Meter, steps: int, evaluated: int | None = None) -> None:
    for step in range(steps):
        metered.step_begin()
        CLOCK.sleep(0.003)
        if step == evaluated:
            with metered.span("evaluate"):
                CLOCK.sleep(0.05)
        metered.step_end(tokens=8, nonpadding_tokens=8, loss_tokens=8)
        metered.step_loss(step + 1, 2.0 - step / 100)


def test_energy_and_power_are_those_of_the_training(driver: Driver) -> None:
    found = train(Meter(clock=CLOCK))
    assert found["metrics"]["gpu_power_watts"] == pytest.approx(WATTS)
    assert found["metrics"]["gpu_energy_joules"] == pytest.approx(20 * 0.003 * WATTS)
    assert found["observed"]["gpu_state"] == {
        "0": {"power_watts": 250.0, "clock_mhz": 1755, "highest_clock_mhz": 1980, "memory_clock_mhz": 3201,
              "reasons": ["SwPowerCap"]},
    }  # fmt: skip


def test_a_step_has_the_device_s_seconds_beside_the_clock_s(driver: Driver) -> None:
    found = train(Meter(clock=CLOCK))
    device, wall = found["metrics"]["cuda_step_seconds"], found["metrics"]["step_seconds"]
    assert device == pytest.approx(0.003) and wall == pytest.approx(0.003)
    assert len(found["samples"]["cuda_step_seconds"]) == 20 - 3


def test_a_step_in_which_something_else_was_done_has_none(driver: Driver) -> None:
    found = train(Meter(clock=CLOCK), evaluated=10)
    assert len(found["samples"]["cuda_step_seconds"]) == 20 - 3 - 1
    assert found["samples"]["cuda_step_seconds"] == pytest.approx([0.003] * 16)


def test_clocks_that_disagree_make_the_measurement_invalid(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Event, "elapsed_time", lambda self, later: 60_000.0)
    metered = Meter(clock=CLOCK)
    train(metered)
    assert metered.invalid is not None and "by the GPU's events" in metered.invalid


def test_work_within_the_work_is_told_once(driver: Driver) -> None:
    metered = Meter(clock=CLOCK)
    with metered.span("train"), metered.span("generate"):
        CLOCK.sleep(0.02)
    spans = metered.timeline.spans
    assert "inspect" in spans and metered.metrics["gpu_energy_joules"] == pytest.approx(0.02 * WATTS)


@pytest.mark.parametrize("open_before", [False, True])
def test_the_energy_of_a_training_is_the_loop_s_whenever_the_gpu_was_opened(
    driver: Driver, device: Device, open_before: bool
) -> None:
    """The operation's span is around loading and saving too; some libraries open the GPU before it, most within it."""
    device.open = open_before
    metered = Meter(clock=CLOCK)
    with metered.span("train"):
        with metered.span("load"):
            CLOCK.sleep(0.4)
        device.open = True
        train(metered)
        with metered.span("save"):
            CLOCK.sleep(0.4)
    found = metered.finish()
    assert found["metrics"]["gpu_energy_joules"] == pytest.approx(20 * 0.003 * WATTS)
    assert found["metrics"]["gpu_power_watts"] == pytest.approx(WATTS)
    assert "gpu_state" in found["observed"] and metered.invalid is None


def test_a_loop_too_short_to_tell_is_not_told_by_what_is_around_it(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(meter, "SHORTEST_SECONDS", 0.3)
    metered = Meter(clock=CLOCK)
    with metered.span("train"):
        CLOCK.sleep(0.4)
        with metered.span("train"):
            pass
    assert "gpu_energy_joules" not in metered.finish()["metrics"]


def test_peaks_of_the_gpu_are_the_work_s_own(device: Device) -> None:
    """As on the CPU: a validation within the training is none of its memory, and stands in its span all the same."""
    metered = Meter(clock=CLOCK)
    with metered.span("train"):
        with metered.span("evaluate"):
            device.peak = 500
        device.peak = 20
    found = metered.finish()
    peaks = [found["metrics"][f"cuda_peak_{name}_bytes"] for name in ("allocated", "reserved", "active")]
    assert peaks == [20, 20, 20]
    whole = {span["name"]: span["cuda"]["allocated_bytes"] for span in found["spans"]}
    assert (whole["train"], whole["evaluate"]) == (500, 500)


def test_what_an_opened_model_takes_is_told_by_the_gpu(device: Device) -> None:
    metered = Meter(clock=CLOCK)
    metered.model_loaded()
    assert metered.finish()["metrics"]["loaded_memory_bytes"] == 7
    device.count = 2
    metered.model_loaded()
    assert metered.metrics["loaded_memory_bytes"] == 14
    device.open = False
    metered.model_loaded()
    assert metered.metrics["loaded_memory_bytes"] > 1000


def test_a_rank_looks_at_its_own_gpu_alone(device: Device) -> None:
    device.count = 4
    metered = Meter(alone=False, gpu=2, clock=CLOCK)
    train(metered)
    metered.model_loaded()
    assert device.touched == {2}
    assert metered.metrics["loaded_memory_bytes"] == 7
    train(Meter(alone=False, clock=CLOCK))
    assert device.touched == {0, 1, 2, 3}


def test_after_a_kernel_s_error_the_record_is_kept_with_that_error(
    driver: Driver, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After such an error each further word to the GPU is that error again."""

    def fail(self: Event, later: Event) -> float:
        raise RuntimeError("CUDA error: device-side assert triggered")

    metered = Meter(clock=CLOCK)
    with pytest.raises(IndexError, match="the original"), metered.span("train"):
        train_steps(metered, 14)
        metered.span("rollout").__enter__()  # as a trainer's hooks do, whose end an error skips
        device.failed = True
        monkeypatch.setattr(Event, "elapsed_time", fail)
        raise IndexError("the original")
    found = metered.finish()
    assert metered.invalid is None and metered.timeline.current() is None
    assert len(found["optimizer_steps"]["seconds"]) == 14 and "cuda_step_seconds" not in found["metrics"]
    assert [flag for flag in found["flags"] if "step times could not be read: CUDA error: device-side" in flag]


def test_what_a_driver_does_not_tell_is_left_out(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "nvmlDeviceGetTotalEnergyConsumption", None)
    monkeypatch.setattr(driver, "nvmlDeviceGetClockInfo", None)
    found = train(Meter(clock=CLOCK))
    assert not [name for name in found["metrics"] if name.startswith("gpu_")]
    assert found["observed"]["gpu_state"]["0"] == {
        "power_watts": 250.0, "highest_clock_mhz": 1980, "reasons": ["SwPowerCap"]
    }  # fmt: skip


def test_short_work_tells_no_energy(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meter, "SHORTEST_SECONDS", gpu_work.SHORTEST_SECONDS)
    assert "gpu_energy_joules" not in train(Meter(clock=CLOCK))["metrics"]


def test_without_a_gpu_nothing_is_told() -> None:
    found = train(Meter(clock=CLOCK))
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
    metered = Meter(clock=CLOCK)
    canary._on_gpu(metered, fake)
    assert set(metered.metrics) == {
        "canary_gpu_matmul_seconds", "canary_gpu_bf16_matmul_seconds", "canary_gpu_copy_seconds"
    }  # fmt: skip
    assert all(len(values) == canary.REPEATS and min(values) >= 0 for values in metered.samples.values())
    assert not any(allowed) and used.allow_tf32
