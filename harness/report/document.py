"""What a report consists of, free of any markup: sections of paragraphs, tables and figures.

Everything in ``harness.report`` makes these; the templates alone know HTML and Markdown. Text is hostile until a
template escapes it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

MISSING = "-"


@dataclass(frozen=True)
class Value:
    """One table cell: text, which leads to ``target`` (a path from the page) where there is one, a smaller note (an
    interval), a mark; ``span`` columns wide.
    """

    text: str = MISSING
    note: str = ""
    mark: str = ""
    kind: str = "number"
    span: int = 1
    target: str = ""


@dataclass(frozen=True)
class Column:
    """A table's column: its head and, below it, a smaller word (a unit, a task); ``kind`` as its values'."""

    title: str
    note: str = ""
    kind: str = "number"


@dataclass(frozen=True)
class Row:
    """One table row; ``kind`` (``baseline``, ``failed``, ``skipped``, ``group`` ...) decides how it looks."""

    values: Sequence[Value]
    kind: str = ""


@dataclass(frozen=True)
class Table:
    """A table; ``caption`` says what its columns have in common."""

    columns: Sequence[Column]
    rows: Sequence[Row]
    caption: str = ""
    type: str = "table"


@dataclass(frozen=True)
class Figure:
    """A picture as one Vega-Lite specification: interactive in the page, an SVG file beside the Markdown."""

    name: str
    caption: str
    specification: Mapping[str, Any]
    type: str = "figure"

    @property
    def file(self) -> str:
        """The SVG file's path from the report's folder."""
        return f"figures/{self.name}.svg"


@dataclass(frozen=True)
class Paragraph:
    """Text; ``kind`` is ``text``, ``lead`` (the question), ``headline``, ``note`` or ``code``."""

    text: str
    kind: str = "text"
    type: str = "paragraph"


@dataclass(frozen=True)
class Bullets:
    """A list of sentences; ``kind`` as for a paragraph."""

    items: Sequence[str]
    kind: str = "text"
    type: str = "bullets"


@dataclass(frozen=True)
class Form:
    """The decision form of a page: candidates, the goal and the bounds that it opens with, as plain JSON."""

    candidates: Sequence[Mapping[str, Any]]
    goal: str
    bounds: Mapping[str, float]
    type: str = "form"


@dataclass(frozen=True)
class Explorer:
    """The page's own table and picture: ``metrics`` by key, ``rows`` with words and numbers, as plain JSON."""

    metrics: Sequence[Mapping[str, Any]]
    rows: Sequence[Mapping[str, Any]]
    type: str = "explorer"


@dataclass(frozen=True)
class Entry:
    """One way on: a text that leads to ``target`` (a path from the page), what it is about, and sentences below."""

    text: str
    target: str
    about: str
    sentences: Sequence[str]


@dataclass(frozen=True)
class Links:
    """A list of ways on."""

    entries: Sequence[Entry]
    type: str = "links"


Block = Table | Figure | Paragraph | Bullets | Form | Explorer | Links


@dataclass(frozen=True)
class Section:
    """A heading with its blocks; ``folded`` ones open on demand in the page, ``page_only`` ones are in no Markdown."""

    title: str
    blocks: Sequence[Block]
    folded: bool = False
    page_only: bool = False

    @property
    def anchor(self) -> str:
        """The name that links jump to."""
        return "-".join(re.findall(r"[a-z0-9]+", self.title.lower()))


@dataclass(frozen=True)
class Document:
    """A whole report; ``up`` is the path to the page above it."""

    title: str
    opening: Sequence[Block]
    sections: Sequence[Section] = field(default_factory=tuple)
    up: str = ""

    def forms(self) -> list[Form]:
        """The decision form, where there is one."""
        return [block for section in self.sections for block in section.blocks if isinstance(block, Form)]

    def explorers(self) -> list[Explorer]:
        """The table to sort and filter, where there is one."""
        return [block for section in self.sections for block in section.blocks if isinstance(block, Explorer)]

    def figures(self, drawn: bool = False) -> list[Figure]:
        """Every figure in reading order; ``drawn``: those of the Markdown, which need a file."""
        return [
            block for section in self.sections if not (drawn and section.page_only)
            for block in section.blocks if isinstance(block, Figure)
        ]  # fmt: skip
