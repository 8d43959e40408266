"""Communication of ranks: what of a profile is a collective's own time, on the CPU and on a GPU."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from harness.training.sharding import Communication

CPU, CUDA = torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA


def event(key: str, cpu: float = 0.0, device: float = 0.0) -> Any:
    return SimpleNamespace(key=key, cpu_time_total=cpu, self_device_time_total=device)


class Profile:
    """A stand-in for a profile of two kinds of collectives and a product."""

    asked: list[list[Any]]

    def __init__(self, activities: list[Any]) -> None:
        self.asked.append(activities)

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def key_averages(self) -> list[Any]:
        return [
            event("gloo:all_reduce", cpu=4_000), event("aten::mm", cpu=9_000, device=9_000),
            event("nccl:all_reduce", cpu=30), event("nccl:all_reduce", device=70_000),
            event("ncclDevKernel_AllReduce_Sum_f32_RING_LL(ncclDevComm*)", device=50_000),
            event("ncclKernel_AllGather_RING_LL_Sum_int8_t(ncclDevComm*)", device=20_000),
            event("ampere_sgemm_128x64_nn", device=9_000),
        ]  # fmt: skip


@pytest.mark.parametrize("on_gpu", [False, True])
def test_of_nccl_the_kernels_count_and_not_their_queueing(monkeypatch: pytest.MonkeyPatch, on_gpu: bool) -> None:
    Profile.asked = []
    monkeypatch.setattr(torch.profiler, "profile", Profile)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: on_gpu)
    communication = Communication()
    for step in range(5):
        communication.begin(step)
        communication.end()
    assert communication.per_step() == pytest.approx(0.074)
    assert Profile.asked == [[CPU, CUDA] if on_gpu else [CPU]] * 2
