"""The driver's own account of the GPUs that a step may use, opened for a moment: NVML opens no device.

A machine without a GPU, without the library or with a broken driver has none: nothing can be told there, and the step
runs all the same.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

DRIVER = Path("/dev/nvidiactl")

Told = TypeVar("Told")


def each_gpu(tell: Callable[[Any, Any], Told]) -> dict[str, Told]:
    """What ``tell(nvml, handle)`` says of each GPU that this process may use, by index or unique name."""
    wanted = os.environ.get("CUDA_VISIBLE_DEVICES")
    if wanted == "" or not DRIVER.exists():
        return {}
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception:
        return {}
    try:
        names = range(pynvml.nvmlDeviceGetCount()) if wanted is None else wanted.split(",")
        return {str(name): tell(pynvml, _handle(pynvml, str(name))) for name in names}
    except Exception:
        return {}
    finally:
        with contextlib.suppress(Exception):
            pynvml.nvmlShutdown()


def _handle(nvml: Any, name: str) -> Any:
    if name.isdigit():
        return nvml.nvmlDeviceGetHandleByIndex(int(name))
    return nvml.nvmlDeviceGetHandleByUUID(name)
