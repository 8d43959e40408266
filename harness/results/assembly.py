"""Rows put together column by column: what is the same for all rows of a record is kept once, numbers in plain arrays.

A million rows take some 40 MB until they become a frame. The same records give the same frame, whatever was read first.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy
import pandas

from harness.results.observations import Run, coordinates, runs

COLUMNS = (
    "suite", "cell", "method", "stage", "technique", "task", "model", "data", "precision", "hardware", "seed", "params",
    "operation", "phase", "metric", "unit", "value", "sample", "step", "status", "reason", "flags", "environment",
    "installation", "commit", "dirty", "record", "started",
)  # fmt: skip
VARYING = ("phase", "metric", "unit", "value", "sample")
FIXED = tuple(name for name in COLUMNS if name not in VARYING)
NUMBERS: dict[str, Any] = {"sample": "Int64", "seed": "Int64", "dirty": "boolean"}
_KINDS = ("phase", "metric", "unit")


class Assembly:
    """Collects records; each is added whole or not at all."""

    def __init__(self) -> None:
        self._fixed: list[dict[str, Any]] = []
        self._lengths = array("q")
        self._kinds: dict[tuple[str, str, str], int] = {}
        self._kind, self._value = array("i"), array("d")
        self._sample, self._no_sample = array("q"), array("b")

    def add(self, record: Mapping[str, Any]) -> None:
        """Add the rows of a record; what is wrong with it is raised before anything is added."""
        fixed = coordinates(record)
        found = [(run, _floats(run.values)) for run in runs(record)]
        for run, values in found:
            self._append(run, values)
        self._fixed.append(fixed)
        self._lengths.append(sum(len(values) for _, values in found))

    def frame(self) -> pandas.DataFrame:
        """The rows of all records, in the order in which they were added."""
        fixed = typed(pandas.DataFrame(self._fixed, columns=list(FIXED)))
        which = numpy.repeat(numpy.arange(len(fixed)), numpy.array(self._lengths, numpy.int64))
        columns: dict[str, Any] = {name: fixed[name].array.take(which) for name in FIXED}
        kinds = numpy.array(self._kind, numpy.int32)
        for place, name in enumerate(_KINDS):
            texts = pandas.Index([kind[place] for kind in self._kinds], dtype="str")
            columns[name] = _categorical(texts, kinds)
        columns["value"] = numpy.array(self._value, numpy.float64)
        columns["sample"] = pandas.arrays.IntegerArray(
            numpy.array(self._sample, numpy.int64), numpy.array(self._no_sample, numpy.bool_)
        )
        frame = pandas.DataFrame({name: columns[name] for name in COLUMNS}, copy=False)
        frame.attrs["unreadable"] = []
        return frame

    def _append(self, run: Run, values: Sequence[float]) -> None:
        kind = self._kinds.setdefault((run.phase, run.metric, run.unit), len(self._kinds))
        number, first = len(values), run.sample
        self._value.extend(values)
        if number == 1:
            self._kind.append(kind)
            self._sample.append(1 if first is None else first)
            self._no_sample.append(first is None)
            return
        self._kind.extend([kind] * number)
        self._sample.extend([1] * number if first is None else range(first, first + number))
        self._no_sample.extend([first is None] * number)


def typed(frame: pandas.DataFrame) -> pandas.DataFrame:
    """Text as categories (a million rows repeat a few hundred texts), numbers that may be missing as nullable."""
    found: dict[str, Any] = {}
    for name in frame.columns:
        column = frame[name]
        if name == "value":
            found[name] = column.astype(float)
        elif name in NUMBERS:
            found[name] = pandas.array(column.tolist(), dtype=NUMBERS[name])
        else:
            texts = sorted(set(column.dropna()))
            found[name] = pandas.Categorical(column, categories=pandas.Index(texts, dtype="str"))
    return pandas.DataFrame(found, index=frame.index)


def concatenated(frames: Sequence[pandas.DataFrame], order: Iterable[int] | None = None) -> pandas.DataFrame:
    """Rows of typed frames one after another, or in the ``order`` given, with the categories that then occur."""
    rows = None if order is None else numpy.asarray(list(order) if not isinstance(order, numpy.ndarray) else order)
    columns: dict[str, Any] = {}
    for name in COLUMNS:
        parts = [frame[name].array for frame in frames]
        if isinstance(parts[0], pandas.Categorical):
            columns[name] = _joined(parts, rows)
        else:
            whole = pandas.concat([pandas.Series(part) for part in parts], ignore_index=True).array
            columns[name] = whole if rows is None else whole.take(rows)
    return pandas.DataFrame(columns, copy=False)


def _joined(parts: Sequence[pandas.Categorical], rows: numpy.ndarray[Any, Any] | None) -> pandas.Categorical:
    texts = pandas.Index(sorted({text for part in parts for text in part.categories}), dtype="str")
    codes = []
    for part in parts:
        places = numpy.append(texts.get_indexer(part.categories), -1).astype(numpy.int32)
        codes.append(places[part.codes])
    whole = numpy.concatenate(codes)
    return _categorical(texts, whole if rows is None else whole[rows])


def _categorical(texts: pandas.Index, codes: numpy.ndarray[Any, Any]) -> pandas.Categorical:
    """Codes into any texts as a category of the sorted ones that occur."""
    used = numpy.zeros(len(texts) + 1, numpy.bool_)
    used[codes] = True
    kept = sorted({text for text, is_used in zip(texts, used, strict=False) if is_used})
    places = numpy.append(pandas.Index(kept, dtype="str").get_indexer(texts), -1).astype(numpy.int32)
    return pandas.Categorical.from_codes(places[codes], categories=pandas.Index(kept, dtype="str"))


def _floats(values: Sequence[float | None]) -> Sequence[float]:
    try:
        return array("d", values)  # type: ignore[arg-type]
    except TypeError:
        return [float("nan") if value is None else float(value) for value in values]
