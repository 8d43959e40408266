"""Which records a report names: a small file beside every page, so that cleaning takes none of them away.

``records.json`` lies beside ``index.html``. A page without one was written before there were any: what it rests on is
unknown, and every record that it may rest on counts as named. Standard library alone.

Format history:
  1  first format
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness import plain_json
from harness.errors import StoreError

FORMAT = 1
FILE = "records.json"
PAGES = ("index.html", "README.md")
Key = tuple[str, str, str]  # suite, installation, record


@dataclass
class Named:
    """Records by the page that names them first, and the pages that do not say what they rest on by their folder."""

    records: dict[Key, str] = field(default_factory=dict)
    silent: dict[str, str] = field(default_factory=dict)


def to_text(keys: Iterable[Key]) -> str:
    """The file's text: the same records give the same bytes."""
    found: dict[str, list[str]] = {}
    for suite, installation, record in sorted(set(keys)):
        found.setdefault(f"{suite}/{installation}", []).append(record)
    return json.dumps({"format": FORMAT, "records": found}, indent=1, sort_keys=True) + "\n"


def named_by(reports: Path) -> Named:
    """What the pages below a reports folder name; ``StoreError`` where one of their files is damaged or newer."""
    found = Named()
    if not reports.is_dir():
        return found
    for page in _pages(reports):
        name, file = str(reports / page.relative_to(reports)), page / FILE
        if not file.is_file():
            found.silent.setdefault(page.relative_to(reports).parts[0], name)
            continue
        for key in _keys(file):
            found.records.setdefault(key, name)
    return found


def keys_in(file: Path) -> list[Key]:
    """What a page's file names; nothing where there is none, or a damaged one."""
    try:
        return list(_keys(file)) if file.is_file() else []
    except StoreError:
        return []


def _pages(reports: Path) -> list[Path]:
    """Folders that hold a page: a suite's, and those below it (``choose``); the index rests on them."""
    patterns = [f"{depth}/{name}" for name in PAGES for depth in ("*", "*/*")]
    return sorted({file.parent for pattern in patterns for file in reports.glob(pattern)})


def _keys(file: Path) -> Iterable[Key]:
    try:
        content: Any = plain_json.read(file)
        version, places = content["format"], content["records"]
        if version != FORMAT:
            raise StoreError(f"{file} has format {version}, this harness reads {FORMAT}; upgrade it")
        return list(_keys_in(places))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"{file} is damaged ({error}); write the report again") from None


def _keys_in(places: Mapping[str, Iterable[str]]) -> Iterable[Key]:
    for place, records in places.items():
        suite, _, installation = place.partition("/")
        if not installation or isinstance(records, str):
            raise ValueError(f"'{place}' is no suite and installation")
        for record in records:
            yield suite, installation, str(record)
