"""The page over all suites: what was asked, the first answers, and the way to each report.

It reads the Markdown of the reports that are there, so that it costs nothing and says nothing that they do not say.
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from harness.plain_json import NotPlain, content_of
from harness.report.document import Document, Entry, Links, Paragraph, Section
from harness.report.writing import write_document

VERDICTS, DECISION = "verdicts", "choose"
ANSWERS = 2
LARGEST_BYTES = 50_000_000  # of a report's Markdown
_ESCAPED = re.compile(r"\\([\\`*_\[\]|~#>+.)-])")


@dataclass(frozen=True)
class Report:
    """One report: its folder below the index, its question and the first sentences of its answer."""

    folder: str
    title: str
    question: str
    answers: tuple[str, ...]


def build_index(reports: Path) -> list[Path]:
    """Write ``index.html`` and ``README.md`` over the reports below a folder; return what was written."""
    found = [one for path in sorted(reports.glob("*/README.md")) if (one := _read(path)) is not None]
    return write_document(compose_index(reports, found), reports) if found else []


def compose_index(reports: Path, found: list[Report]) -> Document:
    """Put the page together: verdicts on claims first, then every suite by name."""
    claims = [one for one in found if one.folder == VERDICTS]
    suites = [one for one in found if one.folder != VERDICTS]
    sections = []
    if claims:
        sections.append(Section("Claims", [Links([_entry(one, "verdicts on published statements") for one in claims])]))
    sections.append(Section("Suites", [Links([_entry(one, one.title) for one in suites])]))
    decided = [one for one in suites if (reports / one.folder / DECISION / "index.html").is_file()]
    if decided:
        entries = [Entry(one.title, _link(one.folder, DECISION, "index.html"), "", ()) for one in decided]
        sections.append(Section("Decisions", [Links(entries)]))
    return Document("Reports", [Paragraph("One question each; every number leads to its records.", "lead")], sections)


def _entry(report: Report, text: str) -> Entry:
    return Entry(text, _link(report.folder, "index.html"), report.question, report.answers)


def _link(*parts: str) -> str:
    """A path as a link: a folder's name can neither be a protocol (``javascript:``) nor end the link."""
    return "/".join(quote(part, safe="") for part in parts)


def _read(path: Path) -> Report | None:
    """A report from its Markdown; None for a file that is none."""
    try:
        lines = content_of(path, LARGEST_BYTES).decode("utf-8", "replace").split("\n")
    except (OSError, NotPlain):
        return None
    if not lines or not lines[0].startswith("# "):
        return None
    opening = lines[1 : next((place for place, line in enumerate(lines) if line.startswith("## ")), len(lines))]
    question = next((line.strip("*") for line in opening if line.startswith("**") and line.endswith("**")), "")
    answers = [_plain(line[2:]) for line in opening if line.startswith("- ")]
    # How much was planned and done is no answer, unless it is all that there is.
    told = [line for line in answers if not re.match(r"\d+ combinations? of", line)] or answers
    return Report(path.parent.name, _plain(lines[0][2:]), _plain(question), tuple(told[:ANSWERS]))


def _plain(text: str) -> str:
    """Markdown that the templates wrote as the text that they were given."""
    return html.unescape(_ESCAPED.sub(r"\1", text))
