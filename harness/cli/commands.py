"""All commands, each one a few lines: parse what was asked, call the layer that does it, show the result.

They are listed by ``harness --help`` in the order in which their modules are imported here.
"""

from __future__ import annotations

from harness.cli import measuring_commands  # isort: skip
from harness.cli import deciding_commands  # isort: skip
from harness.cli import tracking_commands  # isort: skip
from harness.cli import upkeep_commands  # isort: skip
from harness.cli.options import app

__all__ = ["app", "deciding_commands", "measuring_commands", "tracking_commands", "upkeep_commands"]
