"""A document on disk: the page, the same in Markdown, and its figures as files."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from harness.errors import StoreError
from harness.plain_text import encodable
from harness.report.charts import svg
from harness.report.document import Document
from harness.report.pages import html, markdown
from harness.results import named
from harness.results.inside import check_inside
from harness.results.whole import put


def write_document(
    document: Document, out: Path, root: Path | None = None, rests_on: Sequence[named.Key] = ()
) -> list[Path]:
    """Write the pages and figures of a document below ``out``; return what was written. ``rests_on``: its records.

    ``StoreError`` where that would lead out of ``root`` (``out`` if not given) through a link.
    """
    pages = {"index.html": html(document), "README.md": markdown(document)}
    drawn = {figure.file: svg(figure.specification) for figure in document.figures(drawn=True)}
    where = root or out
    with _naming(where, out / named.FILE, rests_on):
        return [_write(where, out / name, text) for name, text in {**pages, **drawn}.items()]


@contextlib.contextmanager
def _naming(root: Path, file: Path, keys: Sequence[named.Key]) -> Iterator[None]:
    """Name the records of the page that is written meanwhile; until it is there, also those of the one before."""
    if keys:
        _write(root, file, named.to_text([*keys, *named.keys_in(file)]))
    yield
    if keys:
        _write(root, file, named.to_text(keys))


def _write(root: Path, path: Path, text: str) -> Path:
    """Put the text at ``path`` whole or not at all; what lies there is replaced, and a link not followed."""
    check_inside(root, path)
    try:
        put(path, encodable(text).encode())
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror}; choose another folder for the report") from None
    return path
