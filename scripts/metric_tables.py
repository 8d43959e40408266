"""Write what harness/metrics.py declares into the tables of docs/metrics.md; the rest of that file is written by hand.

    python scripts/metric_tables.py      # part of `make docs`

A row belongs to the metric between its first backticks; its last column, how the number misleads, is kept. A metric
without a row gets one at the end of the last table.
"""

from __future__ import annotations

import re
from pathlib import Path

from harness.metrics import METRICS, Metric

PAGE = Path(__file__).resolve().parents[1] / "docs" / "metrics.md"
BETTER = {"lower": "lower", "higher": "higher", "none": "a fact"}
UNITS = {"1": "-", "share": "share of 1"}
_ROW = re.compile(r"\| `(\w+)` \|.*?([^|]*)\|")


def refreshed(text: str) -> str:
    """The page with every row as its metric is declared now; rows of metrics that are gone are left out."""
    lines: list[str] = []
    seen: set[str] = set()
    for line in text.rstrip("\n").split("\n"):
        row = _ROW.fullmatch(line)
        if row is None:
            lines.append(line)
        elif row[1] in METRICS:
            seen.add(row[1])
            lines.append(_row(METRICS[row[1]], row[2].strip()))
    lines += [_row(metric, "-") for name, metric in METRICS.items() if name not in seen]
    return "\n".join(lines) + "\n"


def _row(metric: Metric, misleads: str) -> str:
    unit = UNITS.get(metric.unit, metric.unit)
    cells = (f"`{metric.name}`", unit, BETTER[metric.direction], f"{metric.label}. {metric.how}", misleads)
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def main() -> None:
    """Rewrite the page."""
    PAGE.write_text(refreshed(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    print(f"wrote {PAGE.name}: {len(METRICS)} metrics")


if __name__ == "__main__":
    main()
