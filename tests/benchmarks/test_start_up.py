"""Start-up of the commands that load nothing heavy: goal 0.3 s each; asserted as CPU time against importing torch."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


def cpu_seconds(*command: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


@pytest.mark.parametrize("arguments", [("--help",), ("list",), ("plan", "suites/quick.yaml")], ids=" ".join)
def test_start_up(arguments: tuple[str, ...], benchmark: Any) -> None:
    benchmark.pedantic(cpu_seconds, args=(sys.executable, "-m", "harness", *arguments), rounds=5, warmup_rounds=1)
    used = min(cpu_seconds(sys.executable, "-m", "harness", *arguments) for _ in range(5))
    torch = min(cpu_seconds(sys.executable, "-c", "import torch") for _ in range(2))
    benchmark.extra_info["cpu_seconds"] = used
    assert used < torch / 2
