"""Facts about the machine and the software: hard ones start a new series when they change, soft ones annotate it.

The plan reads ``machine_facts`` and ``plan_time_facts`` (light: no heavy import), the worker records everything.
Facts are on allow-lists: a fact that identifies a person or a host never gets into a record.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from harness import environments
from harness.contract import MEASUREMENT_VERSION
from harness.results.facts import PLAN_TIME_FACTS

LIBRARIES = (
    "torch", "transformers", "accelerate", "peft", "bitsandbytes", "trl", "deepspeed", "datasets", "tokenizers",
    "safetensors", "numpy", "sentencepiece", "tiktoken", "gguf", "llama-cpp-python", "gptqmodel", "optimum",
    "torchao", "autoawq", "auto-gptq", "flash-attn", "triton",
)  # fmt: skip
WAIT_POLICY = "PASSIVE"
ISOLATION_MODES = ("fork", "spawn")


@cache
def machine_facts() -> dict[str, Any]:
    """Processor, cores that may be used, memory and GPUs of this machine; standard library alone."""
    return {"cpu_model": _cpu_model(), "cores": cores(), "memory_gib": _memory_gib(), "gpus": list(gpu_names())}


def cores() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0))


@cache
def gpu_names() -> tuple[str, ...]:
    """Names of the NVIDIA GPUs of this machine, in the driver's order; empty where there is none."""
    if not Path("/dev/nvidiactl").exists():
        return ()
    return _gpus_by_nvml() or tuple(_nvidia_smi("name"))


def threads_of(hardware: Mapping[str, Any]) -> int:
    """Number of compute threads that ``hardware`` asks for; 0 means every core."""
    return int(hardware.get("threads") or 0) or cores()


def thread_environment(hardware: Mapping[str, Any]) -> dict[str, str]:
    """Variables that must be set before torch starts: thread counts, a passive OpenMP wait, and which devices exist."""
    threads = str(threads_of(hardware))
    several = threads != "1"
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS", "RAYON_NUM_THREADS")
    variables = dict.fromkeys(names, threads) | {
        "OMP_WAIT_POLICY": WAIT_POLICY,
        "GOMP_SPINCOUNT": "0",
        "KMP_BLOCKTIME": "0",
        "TOKENIZERS_PARALLELISM": "true" if several else "false",
        "PYTORCH_NVML_BASED_CUDA_CHECK": "1",
    }
    devices = 0 if hardware.get("device", "cpu") == "cpu" else int(hardware.get("devices") or 1)
    variables["CUDA_VISIBLE_DEVICES"] = ",".join(_visible_devices(devices)[:devices])
    return variables


def _visible_devices(wanted: int) -> list[str]:
    """The devices that this process may see; a step is given as many as it asks for, lest a library take them all."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is None:
        return [str(number) for number in range(wanted)]
    return [name.strip() for name in given.split(",") if name.strip()]


def plan_time_facts(hardware: Mapping[str, Any], isolation: str) -> dict[str, Any]:
    """The hard facts that are known before a step runs; GPUs count only where the step uses one."""
    device = hardware.get("device", "cpu")
    facts = machine_facts() | {
        "device": device,
        "devices": int(hardware.get("devices") or 1),
        "ranks": int(hardware.get("ranks") or 1),
        "threads": threads_of(hardware),
        "omp_wait_policy": WAIT_POLICY,
        "isolation": isolation,
        "measurement_version": MEASUREMENT_VERSION,
    }
    return facts | ({"gpus": []} if device == "cpu" else {})


def hard_id(hard: Mapping[str, Any]) -> str:
    """Hash of the hard facts that are known at plan time, as 16 hex digits; other facts do not change it."""
    facts = {name: hard.get(name) for name in PLAN_TIME_FACTS}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


@cache
def soft_facts() -> dict[str, Any]:
    """Versions and settings whose change annotates a series: interpreter, kernel, libraries, governor, driver."""
    return {
        "python": platform.python_version(),
        "kernel": platform.release(),
        "system": platform.system(),
        "machine": platform.machine(),
        "libc": " ".join(platform.libc_ver()),
        "libraries": library_versions(),
        "governor": _first_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "gpu_driver": next(iter(_nvidia_smi("driver_version")), None) if gpu_names() else None,
        "gpu_memory_mib": _nvidia_smi("memory.total") if gpu_names() else [],
    }


def library_versions() -> dict[str, str]:
    """Installed versions of the libraries that results depend on."""
    found = {}
    for name in LIBRARIES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def environment_of(job: Mapping[str, Any], **determined: Any) -> dict[str, Any]:
    """The ``environment`` field of a job's record; ``determined`` are hard facts such as data and model hashes."""
    hard = plan_time_facts(job["hardware"], job["isolation"]) | {
        key: value for key, value in determined.items() if value
    }
    installation = (job.get("context") or {}).get("installation", "unknown")
    name = job.get("environment") or environments.MAIN
    soft = soft_facts() | {"environment": name}
    if name in environments.names():
        soft["environment_definition"] = environments.fingerprint(name)
    return {"installation": installation, "hard_id": hard_id(hard), "hard": hard, "soft": soft}


def commit_facts() -> dict[str, Any]:
    """Commit of the harness's checkout and whether its code differs from it; unknown outside a checkout."""
    root = Path(__file__).resolve().parents[2]
    sha = _git(root, "rev-parse", "HEAD")
    if sha is None:
        return {"sha": "unknown", "dirty": None}
    changes = _git(root, "status", "--porcelain", "--", ".", ":(exclude)results", ":(exclude)reports")
    return {"sha": sha, "dirty": None if changes is None else bool(changes)}


def _git(root: Path, *arguments: str) -> str | None:
    if not (root / ".git").exists() or shutil.which("git") is None:
        return None
    done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None


def _cpu_model() -> str:
    with contextlib.suppress(OSError), Path("/proc/cpuinfo").open() as file:
        for line in file:
            if line.startswith(("model name", "Hardware", "cpu model")):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _memory_gib() -> float:
    """Memory that may be used, to half a GiB: the kernel's own share moves from boot to boot."""
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit = _first_line("/sys/fs/cgroup/memory.max")
    if limit and limit.isdigit():
        total = min(total, int(limit))
    return round(total / 2**29) / 2


def _gpus_by_nvml() -> tuple[str, ...]:
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception:  # no library, no driver or a broken one: the command-line tool is asked next
        return ()
    try:
        handles = map(pynvml.nvmlDeviceGetHandleByIndex, range(pynvml.nvmlDeviceGetCount()))
        return tuple(str(pynvml.nvmlDeviceGetName(handle)) for handle in handles)
    finally:
        pynvml.nvmlShutdown()


def _nvidia_smi(field: str) -> list[str]:
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    command = [program, f"--query-gpu={field}", "--format=csv,noheader,nounits"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    return [line.strip() for line in done.stdout.splitlines() if line.strip()] if done.returncode == 0 else []


def _first_line(path: str) -> str | None:
    try:
        return Path(path).read_text().splitlines()[0].strip()
    except (OSError, IndexError):
        return None
