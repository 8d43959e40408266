"""The rows of the table, in its order; every module enters its own."""

from faults import tally
from faults.rows import (
    changes,
    clocks,
    damage,
    disk,
    endings,
    interrupts,
    kills,
    launchers,
    lengths,
    limits,
    neighbours,
    reports,
)

_ORDER = (kills, limits, endings, disk, damage, launchers, interrupts, clocks, neighbours, lengths, changes, reports)
ALL = {
    name: row for module in _ORDER for name, row in tally.ROWS.items() if row.act.__module__ == module.__name__
}  # fmt: skip
