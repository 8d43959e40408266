"""Numbers as readers want them: few digits, a unit that fits, a dash for what is missing (never 0)."""

from __future__ import annotations

import math

from harness.report.document import MISSING

# Differences of equal numbers that were summed in another order; no quantity that is shown is so small.
ROUNDING = 1e-12
_SCALES = {
    "B": ((2.0**30, "GiB"), (2.0**20, "MiB"), (2.0**10, "KiB"), (1.0, "B")),
    "s": ((3600.0, "h"), (1.0, "s"), (1e-3, "ms"), (1e-6, "µs")),
    "share": ((0.01, "%"),),
}


def pretty(value: float | None, unit: str = "1", digits: int = 4) -> str:
    """Format ``value`` of a metric with ``unit``: bytes and seconds get a fitting unit, shares become per cent."""
    if value is None or value != value:
        return MISSING
    scale, name = _scale(value, unit)
    return f"{plain(value / scale, min(digits, 3))} {name}" if name else plain(value, digits)


def plain(value: float | None, digits: int = 4) -> str:
    """``value`` with so many significant digits, whole numbers in groups of three, tiny ones as powers of ten."""
    if value is None or value != value:
        return MISSING
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    if float(value).is_integer() or abs(value) >= 10 ** (digits - 1):
        return _grouped(value, 0)
    if abs(value) < 1e-4:
        return f"{value:.{max(0, digits - 2)}e}".replace("e-0", "e-")
    places = digits - 1 - math.floor(math.log10(abs(value)))
    return f"{value:.{max(0, min(places, 6))}f}"


def signed(value: float | None, unit: str = "1", digits: int = 3) -> str:
    """``value`` with its sign, for differences."""
    if value is None or value != value:
        return MISSING
    if abs(value) < ROUNDING:
        return pretty(0.0, unit, digits)
    return f"{'+' if value > 0 else '-'}{pretty(abs(value), unit, digits)}"


def interval(low: float | None, high: float | None, unit: str = "1") -> str:
    """``[low, high]`` with the places that tell its ends apart; nothing where there is no interval.

    The unit is the larger end's and stands behind the bracket, but for shares, which are per cent like their value.
    """
    if low is None or high is None or low != low or high != high:
        return ""
    if max(abs(low), abs(high)) < ROUNDING:
        low = high = 0.0
    scale, name = _scale(max(abs(low), abs(high)), unit)
    low, high = low / scale, high / scale
    width = high - low
    if width > 0 and max(abs(low), abs(high)) >= 1e-3:
        places = max(0, min(6, 1 - math.floor(math.log10(width))))
        ends = f"[{_grouped(low, places)}, {_grouped(high, places)}]"
    else:
        ends = f"[{plain(low, 3)}, {plain(high, 3)}]"
    return f"{ends} {name}" if name not in ("", "%") else ends


def _scale(value: float, unit: str) -> tuple[float, str]:
    scales = _SCALES.get(unit)
    if scales is None:
        return 1.0, ""
    if value == 0:
        return (1.0, unit) if unit != "share" else scales[0]
    return next((pair for pair in scales if abs(value) >= 0.9995 * pair[0]), scales[-1])


def _grouped(value: float, places: int) -> str:
    text = f"{value:,.{places}f}".replace(",", " ")
    return text if float(text.replace(" ", "")) or not text.startswith("-") else text[1:]
