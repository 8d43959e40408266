"""Numbers as readers want them: few digits, a unit that fits, a dash for what is missing (never 0)."""

from __future__ import annotations

import math

from harness.report.document import MISSING

_BYTES = (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10))


def pretty(value: float | None, unit: str = "1", digits: int = 4) -> str:
    """Format ``value`` of a metric with ``unit``: bytes and seconds get a fitting unit, shares become per cent."""
    if value is None or value != value:
        return MISSING
    if unit == "B":
        return with_bytes(value)
    if unit == "s":
        return with_seconds(value)
    if unit == "share":
        return f"{100 * value:.3g} %"
    return plain(value, digits)


def plain(value: float | None, digits: int = 4) -> str:
    """``value`` with so many significant digits, whole numbers in groups of three, tiny ones as powers of ten."""
    if value is None or value != value:
        return MISSING
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    if value == 0:
        return "0"
    if abs(value) >= 10 ** (digits - 1):
        return f"{value:,.0f}".replace(",", " ")
    if abs(value) < 1e-4:
        return f"{value:.{max(0, digits - 2)}e}".replace("e-0", "e-")
    places = digits - 1 - math.floor(math.log10(abs(value)))
    return f"{value:.{max(0, min(places, 6))}f}"


def signed(value: float | None, unit: str = "1", digits: int = 3) -> str:
    """``value`` with its sign, for differences."""
    if value is None or value != value:
        return MISSING
    text = pretty(abs(value), unit, digits)
    return text if value == 0 else f"{'+' if value > 0 else '-'}{text}"


def interval(low: float | None, high: float | None, unit: str = "1", digits: int = 4) -> str:
    """``[low, high]``, or nothing where there is no interval. Both ends get the places that tell them apart."""
    if low is None or high is None or low != low or high != high:
        return ""
    if unit in ("B", "s"):
        return f"[{pretty(low, unit)}, {pretty(high, unit)}]"
    scale = 100.0 if unit == "share" else 1.0
    low, high = low * scale, high * scale
    width = high - low
    if width <= 0 or max(abs(low), abs(high)) < 1e-3:
        return f"[{plain(low, digits)}, {plain(high, digits)}]"
    places = max(0, min(6, 1 - math.floor(math.log10(width))))
    return f"[{low:.{places}f}, {high:.{places}f}]"


def with_bytes(value: float) -> str:
    """Bytes in binary units."""
    for name, size in _BYTES:
        if abs(value) >= size:
            return f"{value / size:.3g} {name}" if abs(value) < 999.5 * size else f"{value / size:,.0f} {name}"
    return f"{value:.0f} B"


def with_seconds(value: float) -> str:
    """Seconds, milliseconds or microseconds; from 100 s on minutes and seconds."""
    size = abs(value)
    if size >= 100:
        minutes, seconds = divmod(round(value), 60)
        return f"{minutes:.0f} min {seconds:02.0f} s" if minutes < 60 else f"{value / 3600:.2f} h"
    if size >= 1:
        return f"{value:.3g} s"
    if size >= 1e-3:
        return f"{value * 1e3:.3g} ms"
    return f"{value * 1e6:.3g} µs" if size else "0 s"
