"""Imported by every interpreter that has this folder on its path: the server that forks the workers."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from faults.inject import clock, driver, fullness, loose

loose.install()
driver.install()
clock.install()
fullness.install()
