"""Peak memory: the kernel's high-water mark of this process, its children, and the CUDA allocator's peaks.

The meter asks at every boundary of a span and resets the marks, so that a spike between two boundaries is never missed.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.run.processes import quick_descendants

CudaPeaks = dict[str, int]


def status_bytes(name: str) -> int:
    """One ``Vm...`` line of this process's status in bytes; 0 where the kernel does not have it."""
    with contextlib.suppress(OSError), Path("/proc/self/status").open() as file:
        for line in file:
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
    return 0


def resident_bytes() -> int:
    """Resident memory of this process now."""
    return status_bytes("VmRSS")


def reset_peak() -> bool:
    """Start the kernel's high-water mark anew at what is resident now; False where that is not allowed."""
    try:
        with Path("/proc/self/clear_refs").open("w") as file:
            file.write("5")
    except OSError:
        return False
    return True


def peak_bytes() -> int:
    """The kernel's high-water mark of this process's resident memory since the last reset."""
    return status_bytes("VmHWM")


def return_free_memory() -> None:
    """Give freed heap back to the system: what preparing data left behind must not be counted as memory of the work."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def keep_no_freed_memory() -> None:
    """Let the heap return every freed block of 128 KiB or more to the system at once, for the rest of the process.

    glibc serves ever larger blocks from its heap once such were freed, which is faster and leaves holes that nothing
    fits (mallopt(3), M_MMAP_THRESHOLD).
    """
    trim_threshold, map_threshold, least = -1, -3, 128 * 1024
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(trim_threshold, least)
        libc.mallopt(map_threshold, least)


def children_bytes() -> int:
    """Proportional set size of all live descendants together (memory that they share counts once)."""
    return sum(_proportional_bytes(pid) for pid in quick_descendants(os.getpid()))


def cuda() -> Any | None:
    """``torch.cuda`` where something in this process already uses a GPU; never the first to import or open it."""
    torch = sys.modules.get("torch")
    module = getattr(torch, "cuda", None)
    return module if module is not None and module.is_initialized() else None


def cuda_devices(module: Any, only: int | None = None) -> Sequence[int]:
    """The GPUs to look at: all that there are, or ``only`` that of one rank (to look at another would open it)."""
    return range(module.device_count()) if only is None else (only,)


def cuda_peaks(only: int | None = None) -> CudaPeaks | None:
    """Peaks since the last reset, summed over devices, or of ``only`` one; None without a GPU in use. Resets them.

    None too where a GPU has failed and tells nothing more: what is worth telling is that failure.
    """
    module = cuda()
    if module is None:
        return None
    peaks = {"allocated_bytes": 0, "reserved_bytes": 0, "active_bytes": 0, "alloc_retries": 0}
    try:
        for device in cuda_devices(module, only):
            stats = module.memory_stats(device)
            for name in ("allocated", "reserved", "active"):
                peaks[f"{name}_bytes"] += int(stats.get(f"{name}_bytes.all.peak", 0))
            peaks["alloc_retries"] += int(stats.get("num_alloc_retries", 0))
            module.reset_peak_memory_stats(device)
    except RuntimeError:
        return None
    return peaks


def cuda_held_bytes(only: int | None = None) -> int | None:
    """Bytes that tensors take on all GPUs now, or on ``only`` one; None without a GPU in use."""
    module = cuda()
    return None if module is None else sum(int(module.memory_allocated(one)) for one in cuda_devices(module, only))


def _proportional_bytes(pid: int) -> int:
    with contextlib.suppress(OSError), Path(f"/proc/{pid}/smaps_rollup").open() as file:
        for line in file:
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0
