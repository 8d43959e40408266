"""What this machine offers, found without importing anything heavy; the plan skips steps that it cannot run."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from harness import catalogue, environments
from harness.contract import Hardware


@dataclass(frozen=True)
class Machine:
    """Cores, CUDA devices, the names of the environments that are set up, and bytes of memory.

    ``cuda_memory_bytes`` is that of one device; None asks the machine when it is needed, which takes a moment.
    """

    cores: int
    cuda_devices: int
    environments: frozenset[str] = frozenset({"main"})
    memory_bytes: float = float("inf")
    cuda_memory_bytes: float | None = None

    def memory_of(self, hardware: Hardware) -> float:
        """Bytes that a step may take there; infinite where nobody knows."""
        if hardware.device != "cuda":
            return self.memory_bytes
        return _cuda_memory_bytes() if self.cuda_memory_bytes is None else self.cuda_memory_bytes

    def lacks(self, hardware: Hardware) -> str | None:
        """Return why this machine is not that hardware, or None."""
        if hardware.device == "cuda" and not self.cuda_devices:
            return "no CUDA device on this machine"
        if hardware.device == "cuda" and hardware.devices > self.cuda_devices:
            return f"{hardware.devices} CUDA devices asked for, this machine has {self.cuda_devices}"
        if hardware.device == "cpu" and hardware.devices > 1:
            return "a machine has one CPU device; several processes are ranks"
        if hardware.ranks > (hardware.devices if hardware.device == "cuda" else self.cores):
            unit = "CUDA devices" if hardware.device == "cuda" else "cores"
            return f"{hardware.ranks} ranks need as many {unit}"
        if hardware.threads > self.cores:
            return f"{hardware.threads} threads asked for, this machine has {self.cores} cores"
        return None

    def lacks_software(self, environment: str, requires: Iterable[str]) -> str | None:
        """Return what has to be set up or installed first, or None."""
        if environment not in self.environments:
            return environments.lacking(environment) or f"needs the environment '{environment}'"
        if environment != environments.MAIN:
            return None
        return "; ".join(catalogue.missing_packages(requires)) or None


def this_machine() -> Machine:
    """Look at the machine that this process runs on."""
    return Machine(
        cores=_cores(), cuda_devices=_cuda_devices(), environments=environments.ready(), memory_bytes=_memory_bytes()
    )


def _memory_bytes() -> float:
    """The machine's memory, or what a container's limit leaves of it."""
    total = float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for limit in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):
            total = min(total, float(Path(limit).read_text()))
    return total


@cache
def _cuda_memory_bytes() -> float:
    """Memory of the smallest device, as the vendor's tool says; without it, no limit is known."""
    tool = shutil.which("nvidia-smi")
    asked = [tool or "", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    with contextlib.suppress(OSError, ValueError, subprocess.TimeoutExpired):
        listed = subprocess.run(asked, capture_output=True, text=True, timeout=10, check=False)
        return min(float(line) for line in listed.stdout.split()) * 2**20
    return float("inf")


def _cores() -> int:
    """Cores that this process may use, which in a container are fewer than the machine's."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _cuda_devices() -> int:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([name for name in visible.split(",") if name.strip() and name.strip() != "-1"]) if _driver() else 0
    cards = Path("/proc/driver/nvidia/gpus")
    if cards.is_dir():
        return sum(1 for _ in cards.iterdir())
    return _asked_nvidia_smi()


def _driver() -> bool:
    return Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi") is not None


def _asked_nvidia_smi() -> int:
    """Some containers hide /proc/driver; there the vendor's own tool is asked. No tool: no device."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return 0
    try:
        listed = subprocess.run([tool, "--list-gpus"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return 0
    return sum(line.startswith("GPU ") for line in listed.stdout.splitlines())
