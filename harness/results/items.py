"""Per-item scores of records, as one frame: what two methods are compared by, paired.

They stay in the records (rows hold no items). Columns: ``step record installation set item`` and then the score
columns of every set (``nll tokens bytes kl`` of perplexity, ``correct correct_sum`` of choice ...); a score that a set
does not have is missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas

from harness.results.store import Store

KEYS = ("step", "record", "installation", "set", "item")
_ITEM_COLUMNS = ("item", "window")


def load(results: Path | str, suite: str) -> pandas.DataFrame:
    """Per-item scores of every done record of a suite."""
    return items_of(Store(results).records(suite).records)


def items_of(records: Iterable[Mapping[str, Any]]) -> pandas.DataFrame:
    """Per-item scores of the done records among ``records``, in their order.

    An item is known by the set's ``item`` or ``window`` column, else by its position.
    """
    frames = [
        _frame(record, name, columns)
        for record in records
        if record["status"] == "done"
        for name, columns in sorted(record["items"].items())
    ]
    if not frames:
        return pandas.DataFrame(columns=list(KEYS))
    return pandas.concat(frames, ignore_index=True)


def _frame(record: Mapping[str, Any], name: str, columns: Mapping[str, Any]) -> pandas.DataFrame:
    kept = {key: pandas.Series(values) for key, values in columns.items() if key not in _ITEM_COLUMNS}
    scores = pandas.DataFrame(kept)
    known = next((columns[key] for key in _ITEM_COLUMNS if key in columns), range(len(scores)))
    keys = {
        "step": record["step"],
        "record": record["record"],
        "installation": record["environment"].get("installation"),
        "set": name,
        "item": [str(item) for item in known],
    }
    numbers: pandas.DataFrame = scores.apply(pandas.to_numeric, errors="coerce").astype(float)
    return pandas.concat([pandas.DataFrame(keys, index=scores.index), numbers], axis=1)
