"""Bytes as people write and read them: decimal units going out, decimal and binary ones coming in."""

from __future__ import annotations

from harness.errors import UsageError

UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


def bytes_of(text: str) -> float:
    """Bytes that a text like ``48GB`` or ``24 GiB`` means; ``UsageError`` for anything else."""
    compact = text.replace(" ", "").upper()
    number = compact.rstrip("BIKMGT")
    unit = compact[len(number) :] or "B"
    try:
        value = float(number)
    except ValueError:
        value = -1.0
    if unit not in UNITS or not 0 < value < float("inf"):
        raise UsageError(f"'{text}' is no amount of memory: write a number and a unit, like 8GB or 24GiB")
    return value * UNITS[unit]


def in_words(size: float) -> str:
    """Bytes in decimal units, three digits."""
    for unit, factor in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= factor:
            return f"{size / factor:.3g} {unit}" if size < 999.5 * factor else f"{size / factor:.0f} {unit}"
    return f"{size:.0f} B"
