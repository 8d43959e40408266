"""Size accounting: bytes on disk against the 16-bit base, and against what the technique's name promises.

The 16-bit base is 2 bytes per parameter of the base model; half of the layers' bits does not halve the file, because
embeddings and norms stay as they are.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

BASE_BITS = 16
_BITS_IN_NAME = re.compile(r"(?:int|nf|fp|w|q)(\d{1,2})(?!\d)")


@dataclass(frozen=True)
class Shrinkage:
    """How many times smaller than the 16-bit base; ``promised`` by the name's bits, None where it names none."""

    times: float
    promised: float | None

    def in_words(self) -> str:
        """Such as ``1.42x smaller (not 2x)`` or ``2.00x larger``."""
        if self.times < 0.995:
            return f"{1 / self.times:.2f}x larger"
        if self.times < 1.005:
            return "the same size"
        falls_short = self.promised is not None and self.times < 0.98 * self.promised
        return f"{self.times:.2f}x smaller" + (f" (not {self.promised:g}x)" if falls_short else "")


def shrinkage(size_bytes: float | None, base_parameters: float | None, technique: str) -> Shrinkage | None:
    """Compare ``size_bytes`` with 2 bytes per parameter of the base; None where either is missing."""
    if not size_bytes or not base_parameters or size_bytes != size_bytes or base_parameters != base_parameters:
        return None
    bits = _BITS_IN_NAME.search(technique)
    promised = BASE_BITS / int(bits.group(1)) if bits and int(bits.group(1)) else None
    return Shrinkage(base_parameters * BASE_BITS / 8 / size_bytes, promised)
