"""Draw the null distribution of the largest standardised rank difference and keep its upper tail as a table.

Half a minute on one core. What ``harness.analyse.changes`` believes rests on it; a test draws parts of it again.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy

from harness.analyse.changes import FEWEST, SHORTEST

COUNTS = (*range(SHORTEST, 17), 18, 20, 23, 26, 30, 35, 40, 50, 60, 75, 90, 120, 160, 220, 300, 400, 550)
PROBABILITIES = (0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001, 0.0005, 0.0002, 0.0001, 0.00005, 0.00002)
DRAWS = 1_000_000
CELLS = 4_000_000
OUT = Path(__file__).parents[1] / "harness" / "analyse" / "rank_split_null.json"


def largest(count: int, draws: int, generator: numpy.random.Generator) -> numpy.ndarray:
    """The statistic of ``draws`` random orders of 1 to ``count``."""
    before = numpy.arange(FEWEST, count - FEWEST + 1)
    spread = numpy.sqrt(before * (count - before) / (count - 1) * (count**2 - 1) / 12)
    found, ordered = [], numpy.arange(1, count + 1, dtype=numpy.float32)
    for start in range(0, draws, max(1, CELLS // count)):
        rows = min(max(1, CELLS // count), draws - start)
        sums = generator.permuted(numpy.tile(ordered, (rows, 1)), axis=1).cumsum(axis=1)[:, before - 1]
        found.append((numpy.abs(sums - before * (count + 1) / 2) / spread).max(axis=1))
    return numpy.concatenate(found)


def row(values: numpy.ndarray) -> list[list[float]]:
    """Scores with the share of draws that reach them: at the probabilities asked for, and the largest of all."""
    ordered = numpy.sort(numpy.round(values, 6))
    found = {}
    for score in [*numpy.quantile(ordered, [1 - one for one in PROBABILITIES], method="lower"), ordered[-1]]:
        share = float((ordered >= score).mean())
        if share >= PROBABILITIES[-1]:
            found[round(float(score), 4)] = float(f"{share:.4g}")
    return [[score, share] for score, share in found.items()]


def main() -> None:
    """Write the table."""
    generator = numpy.random.default_rng(20261125)
    rows = [row(largest(count, DRAWS if count <= 100 else DRAWS // 4, generator)) for count in COUNTS]
    told = ",\n  ".join(map(json.dumps, rows))
    OUT.write_text(
        f'{{"draws": {DRAWS}, "fewest": {FEWEST},\n "counts": {json.dumps(COUNTS)},\n "rows": [\n  {told}\n ]}}\n'
    )


if __name__ == "__main__":
    main()
