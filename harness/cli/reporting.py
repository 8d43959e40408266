"""Rows to report, and the result table in the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from harness.catalogue import missing_packages
from harness.cli.planning import suite_file
from harness.cli.tables import warn_unreadable
from harness.cli.terminal import print
from harness.cli.terminal import shown as plain
from harness.errors import UsageError
from harness.plan.suite import load
from harness.results.store import Store

if TYPE_CHECKING:
    from rich.text import Text

    from harness.report.content import Content
    from harness.report.document import Table, Value

WIDTH = 150
LONGEST_METHOD = 48


def lacking() -> str | None:
    """What a report needs and is not installed here, in one line, or None."""
    found = missing_packages(("altair", "vl_convert"))
    return f"no report can be written here: {'; '.join(found)}; the records are kept" if found else None


def content(name: str, results: Path, installation: str | None = None) -> Content:
    """Compact the rows of a suite and read what its report is made of."""
    if why := lacking():
        raise UsageError(why)
    from harness.report.build import content_of
    from harness.results.rows import compact

    suite = suite_name(name, results)
    if suite not in Store(results).suites():
        raise UsageError(f"no results for suite '{suite}' in {results}; run it first")
    warn_unreadable(compact(results, suite).unreadable)
    return content_of(results, suite, installation or Store(results).known_installation())


def write_report(name: str, results: Path, reports: Path, installation: str | None) -> list[Path]:
    """Write the report of a suite, named by file or by name, and return the files."""
    from harness.report.build import build
    from harness.report.index import build_index

    written = build(content(name, results, installation), reports / suite_name(name, results))
    return [*written, *build_index(reports)]


def suite_name(name: str, results: Path) -> str:
    """The name under which a suite's records lie: of a folder of results, else that of the file."""
    if name in Store(results).suites():
        return name
    return load(suite_file(name)).name


def show_results(found: Content) -> None:
    """Print the headline and the result table of a report."""
    from harness.report.document import Table
    from harness.report.headline import headline
    from harness.report.results import results

    for block in results(found).blocks:
        if isinstance(block, Table):
            _show_table(block)
    for sentence in headline(found):
        print(f"- {sentence}")


def _show_table(table: Table) -> None:
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    title = Text(plain(table.caption), style="bold")
    shown = RichTable(title=title, title_justify="left", header_style="bold", box=None)
    for number, column in enumerate(table.columns):
        head = Text(plain(f"{column.title}\n{column.note}".strip()))
        shown.add_column(head, justify="right" if number else "left", max_width=None if number else LONGEST_METHOD)
    reasons = []
    for row in table.rows:
        cells = [_cell(value) for value in row.values if value.kind != "reason"]
        reasons += [f"  {cells[0].plain}: {value.text}" for value in row.values if value.kind == "reason"]
        shown.add_row(*cells, style="bold" if row.kind == "baseline" else "")
    console = Console(width=max(WIDTH, Console().width))
    console.print(shown)
    for reason in reasons:
        print(reason)


def _cell(value: Value) -> Text:
    from rich.text import Text

    note = f" @ {value.note}" if value.kind == "method" and value.note else ""
    return Text(plain(" ".join(part for part in (value.text + note, value.mark) if part)), overflow="fold")
