"""Per-item scores of records, as one frame: what two methods are compared by, paired.

They stay in the records (rows hold no items). Columns: ``step record installation set item`` and then the score
columns of every set (``nll tokens bytes kl`` of perplexity, ``correct correct_sum`` of choice ...); a score that a set
does not have is missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy
import pandas

from harness.results.quarantine import Records
from harness.results.reading import stream
from harness.results.store import Store

KEYS = ("step", "record", "installation", "set", "item")
_ITEM_COLUMNS = ("item", "window")


class ItemsOf:
    """Collects the scores of done records; a column of numbers for each score until they become a frame."""

    def __init__(self) -> None:
        self._names: list[tuple[Any, Any, Any, str]] = []
        self._lengths: list[int] = []
        self._items: list[str] = []
        self._columns: dict[str, list[tuple[int, numpy.ndarray[Any, Any]]]] = {}

    def add(self, record: Mapping[str, Any]) -> None:
        """Note the sets of one record, in their order; nothing of one that is not done."""
        if record["status"] != "done":
            return
        for name, columns in sorted(record["items"].items()):
            scores = {key: _numbers(values) for key, values in columns.items() if key not in _ITEM_COLUMNS}
            length = max((len(values) for values in scores.values()), default=0)
            known = next((columns[key] for key in _ITEM_COLUMNS if key in columns), range(length))
            place = len(self._items)
            self._items += [str(item) for item in known[:length]]
            self._items += [str(number) for number in range(len(known), length)]
            for key, values in scores.items():
                self._columns.setdefault(key, []).append((place, values))
            self._names.append((record["step"], record["record"], record["environment"].get("installation"), name))
            self._lengths.append(length)

    def frame(self) -> pandas.DataFrame:
        """Scores of all records noted, in their order."""
        if not self._names:
            return pandas.DataFrame(columns=list(KEYS))
        found: dict[str, Any] = {}
        for key, names in zip(KEYS, zip(*self._names, strict=True), strict=False):
            found[key] = pandas.Series(names, dtype="str").repeat(self._lengths).reset_index(drop=True)
        found["item"] = pandas.Series(self._items, dtype="str")
        for key, parts in self._columns.items():
            column = numpy.full(len(self._items), numpy.nan)
            for place, values in parts:
                column[place : place + len(values)] = values
            found[key] = column
        return pandas.DataFrame(found)


def load(results: Path | str, suite: str) -> pandas.DataFrame:
    """Per-item scores of every done record of a suite."""
    return items_of(stream(Store(results), suite, Records()))


def items_of(records: Iterable[Mapping[str, Any]]) -> pandas.DataFrame:
    """Per-item scores of the done records among ``records``, in their order.

    An item is known by the set's ``item`` or ``window`` column, else by its position.
    """
    found = ItemsOf()
    for record in records:
        found.add(record)
    return found.frame()


def _numbers(values: Sequence[Any]) -> numpy.ndarray[Any, Any]:
    """The values as floats; what is none is missing."""
    try:
        return numpy.asarray(values, dtype=numpy.float64)
    except (TypeError, ValueError):
        coerced = pandas.to_numeric(pandas.Series(values), errors="coerce")
        return numpy.asarray(coerced, dtype=numpy.float64)
