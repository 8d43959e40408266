"""The real ``pynvml`` over a library that speaks for two GPUs: names, units and errors are those of its own code."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pynvml", reason="the package nvidia-ml-py is not installed")
ROOT = Path(__file__).resolve().parents[2]
ASK = """
import json, time
from dataclasses import asdict
from pathlib import Path
from harness.run import environment, gpu, gpu_work, nvml
nvml.DRIVER = Path("/")  # as a driver has its device there
before = gpu_work.states()
time.sleep(0.5)
after = gpu_work.states()
print(json.dumps({
    "states": {name: asdict(one) for name, one in after.items()},
    "joules": gpu_work.energy(before, after),
    "first": gpu_work.energy({"0": before["0"]}, {"0": after["0"]}) if "0" in before else None,
    "readings": {name: [sorted(one.processes), one.slowed, one.slowed_seconds] for name, one in gpu.readings().items()},
    "names": environment._gpus_by_nvml(),
}))
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler on this machine")
    folder = tmp_path_factory.mktemp("driver")
    command = [compiler, "-shared", "-fPIC", "-o", str(folder / "libnvidia-ml.so.1"), str(ROOT / "tests/fakes/nvml.c")]
    subprocess.run(command, check=True, capture_output=True)
    return folder


def told(library: Path, **variables: str) -> dict[str, Any]:
    kept = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
    done = subprocess.run(
        [sys.executable, "-c", ASK], env=kept | {"LD_LIBRARY_PATH": str(library), **variables}, cwd=ROOT,
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_what_two_gpus_say_of_themselves(library: Path) -> None:
    found = told(library)
    assert found["names"] == ["NVIDIA Fake A", "NVIDIA Fake B"]
    first, second = (found["states"][name] for name in ("0", "1"))
    assert first.pop("energy_joules") > 0
    assert first == {"power_watts": 300.0, "clock_mhz": 1500, "highest_clock_mhz": 1980, "memory_clock_mhz": 2600,
                     "reasons": ["SwPowerCap"]}  # fmt: skip
    assert second["energy_joules"] is None and second["reasons"] == ["HwThermalSlowdown"]
    assert 0.5 * 300 * 0.99 <= found["first"] < 30 * 300, "300 W for half a second or more"
    assert found["joules"] is None, "the sum of two GPUs of which one does not tell"
    assert found["readings"] == {"0": [[], False, 0.0], "1": [[4242], True, 2.0]}


@pytest.mark.parametrize(
    ("visible", "names"), [("1", ["1"]), ("GPU-second", ["GPU-second"]), ("", []), ("5", []), ("GPU-other", [])]
)
def test_those_that_a_step_sees(library: Path, visible: str, names: list[str]) -> None:
    assert list(told(library, CUDA_VISIBLE_DEVICES=visible)["states"]) == names


def test_a_broken_driver_and_none_tell_nothing(library: Path, tmp_path: Path) -> None:
    nothing = {"states": {}, "joules": None, "first": None, "readings": {}, "names": []}
    assert told(library, FAKE_NVML_BROKEN="1") == told(tmp_path) == nothing
