"""``plan.json``: cells and steps by columns, each distinct value written once, so that 100 000 cells take 60 MB.

Format 1 wrote a mapping for each cell and step, 1 kB a step; it is read as well. Standard library alone.

::

    {"format": 2, "suite": "quick", ..., "cells": TABLE, "steps": TABLE, ...}
    TABLE  := {"rows": 3, "columns": {"id": COLUMN, "coordinates": {"columns": {...}}, ...}}
    COLUMN := [a, b, c]                                  a value for each row
            | {"values": [a, b], "rows": [0, 1, 0]}      for each row the place of its value
            | {"columns": {...}}                         a mapping for each row, all with these keys
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness import plain_json
from harness.redaction import redacted

FORMAT = 2
TABLES = ("cells", "steps", "trials", "waiting")
MOST_ROWS = 10_000_000  # 10^6 cells are the most that a suite may ask for; a column may hold very little a row


def read(path: Path) -> Any:
    """The plan in a file of either format, with a mapping for each row of its tables; rows share equal values.

    ``NotPlain`` where it is no JSON, of another format or damaged, ``OSError`` where it cannot be read.
    """
    found = plain_json.read(path)
    if not isinstance(found, dict) or found.get("format", 1) == 1:
        return found
    if found["format"] != FORMAT:
        raise plain_json.NotPlain(f"it is not of format 1 or {FORMAT}: a newer version wrote it, or it is damaged")
    try:
        return found | {name: _rows(found[name]) for name in TABLES if name in found} | {"format": 1}
    except (KeyError, TypeError, IndexError, AttributeError, ValueError):
        raise plain_json.NotPlain("a table in it is damaged") from None


def text_of(plan: Mapping[str, Any]) -> str:
    """A plan of format 1 as a file holds it, keys in order, a line for each that holds no mapping; secrets masked."""
    rest = redacted({name: value for name, value in plan.items() if name not in TABLES})
    tables = {name: _table(plan[name]) for name in TABLES if name in plan}
    return "".join(_lines({**rest, **tables, "format": FORMAT}, 1)) + "\n"


def _lines(value: Mapping[str, Any], depth: int) -> Iterator[str]:
    yield "{"
    for number, key in enumerate(sorted(value)):
        yield f"{',' if number else ''}\n{' ' * depth}{json.dumps(key)}: "
        item = value[key]
        if isinstance(item, Mapping) and item:
            yield from _lines(item, depth + 1)
        else:
            yield json.dumps(item, sort_keys=True, separators=(",", ":"), allow_nan=False)
    yield f"\n{' ' * (depth - 1)}}}"


def _table(rows: Sequence[Mapping[str, Any]]) -> Any:
    """The rows as a table; as they are where they have not all the same keys."""
    if not rows or any(row.keys() != rows[0].keys() for row in rows):
        return redacted(rows)
    return {"rows": len(rows), "columns": {key: _column(key, [row[key] for row in rows]) for key in rows[0]}}


def _column(name: str, values: list[Any]) -> Any:
    first = values[0]
    keys = first.keys() if isinstance(first, dict) else ()
    if keys and all(isinstance(one, dict) and one.keys() == keys for one in values):
        return {"columns": {key: _column(key, [one[key] for one in values]) for key in first}}
    places: dict[str, int] = {}
    distinct: list[Any] = []
    rows: list[int] = []
    for value in values:
        # A text stands for itself; what else there is, for its JSON, which no other text is.
        key = f"'{value}" if isinstance(value, str) else json.dumps(value)
        place = places.setdefault(key, len(distinct))
        if place == len(distinct):
            distinct.append(value)
        rows.append(place)
    if 2 * len(distinct) > len(values):
        return _masked(name, values)
    return {"values": _masked(name, distinct), "rows": rows}


def _masked(name: str, values: list[Any]) -> list[Any]:
    """The values of a column without secrets, each by itself: what stands beside it is of another row."""
    masked: list[Any] = redacted([{name: value} for value in values])
    return [one[name] for one in masked]


def _rows(table: Any) -> list[Any]:
    if isinstance(table, list):
        return table
    count = table["rows"]
    if type(count) is not int or not 0 <= count <= MOST_ROWS:
        raise ValueError("rows")
    return _mappings(table["columns"], count)


def _mappings(columns: Mapping[str, Any], count: int) -> list[dict[str, Any]]:
    names, values = list(columns), [_values(column, count) for column in columns.values()]
    if not names:
        raise ValueError("a table without columns")
    return [dict(zip(names, row, strict=True)) for row in zip(*values, strict=True)]


def _values(column: Any, count: int) -> list[Any]:
    if isinstance(column, dict):
        found = _mappings(column["columns"], count) if "columns" in column else _looked_up(**column)
    else:
        found = column
    if not isinstance(found, list) or len(found) != count:
        raise ValueError("a column is longer or shorter than its table")
    return found


def _looked_up(values: list[Any], rows: list[int]) -> list[Any]:
    if not all(type(place) is int and place >= 0 for place in rows):
        raise ValueError("a place of a value is none")
    return [values[place] for place in rows]
