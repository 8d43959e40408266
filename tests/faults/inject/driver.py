"""A machine that seems to have an NVIDIA driver: its library is found by the loader, its device is some folder.

``FAULT_INJECT_DRIVER`` asks for it.
"""

from __future__ import annotations

import os
from pathlib import Path

NAME = "FAULT_INJECT_DRIVER"


def install() -> None:
    """Let the driver be there, where the environment asks for it."""
    if os.environ.get(NAME):
        from harness.run import nvml

        nvml.DRIVER = Path("/")
