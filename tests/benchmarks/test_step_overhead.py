"""Overhead of one no-op step beyond its own work, with the preloaded server (goal: 0.3 s)."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from harness.results.store import Store
from harness.run import launcher
from harness.run.server import PRELOAD

GOAL_SECONDS = 0.3
STEPS = 10
from fakes.jobs import make_job  # noqa: E402


def test_overhead_per_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, benchmark: Any) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    ends: list[float] = []

    def heard(event: object) -> None:
        ends.append(time.monotonic())

    jobs = [make_job(f"step{index}") for index in range(STEPS)]
    benchmark.pedantic(
        lambda: launcher.run(
            jobs, Store(tmp_path / str(time.monotonic_ns())), preload=PRELOAD, canary=False, on_event=heard
        ),
        rounds=1,
    )
    # The server starts before the first step; its time is paid once per sweep.
    per_step = (ends[-2] - ends[1]) / (STEPS - 1)
    benchmark.extra_info["seconds_per_step"] = per_step
    assert per_step < GOAL_SECONDS
