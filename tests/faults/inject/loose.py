"""A step of a fake is not invalid because a busy machine did not let it run for a moment.

``FAULT_INJECT_LOOSE`` asks for it. How much of a step's time may be unexplained is another test's business.
"""

from __future__ import annotations

import os

NAME = "FAULT_INJECT_LOOSE"


def install() -> None:
    """Widen the allowance, where the environment asks for it."""
    if os.environ.get(NAME):
        from harness.run import timeline

        timeline.UNEXPLAINED_SECONDS = 60.0
