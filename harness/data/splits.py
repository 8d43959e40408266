"""Deals items into train, validation and test by hash, once and for good; every data set kind uses this.

An item's split depends on its own key alone, so adding or removing other items never moves it.
"""

from __future__ import annotations

import hashlib

SPLITS = ("train", "validation", "test")


def order_of(key: str) -> int:
    """Return a 64-bit number that depends on ``key`` alone; sorting by it is the project's only "shuffle"."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big")


def split_of(key: str, validation: float, test: float) -> str:
    """Return the split of ``key``; ``validation`` and ``test`` are the shares of those splits, 0 to 1."""
    position = order_of(f"split:{key}") / 2**64
    if position < test:
        return "test"
    return "validation" if position < test + validation else "train"
