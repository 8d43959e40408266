"""The metered training step against a plain hand-written PyTorch loop: goal within 5 %, as a ratio in one run.

What is compared is the task ``meter_overhead``'s; the ratio is asserted with room for the machine's noise.
"""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import pytest

from harness.contract import Hardware
from harness.run.meter import Meter
from harness.training.overhead import Pair, pairs

STEPS, ROUNDS = 10, 3


def test_a_metered_step_costs_what_a_plain_one_does(tmp_path: Path, benchmark: Any) -> None:
    found: list[Pair] = []

    def both() -> None:
        found.extend(pairs(Meter(log=tmp_path / "log"), Meter(), Hardware(), tmp_path, STEPS))

    benchmark.pedantic(both, rounds=ROUNDS, iterations=1)
    ratio = 1 + statistics.median(one.share for one in found)
    benchmark.extra_info["ratio"] = ratio
    print(f"metered / plain = {ratio:.3f}")
    assert ratio < 1.15


if __name__ == "__main__":
    pytest.main([__file__, "-s"])
