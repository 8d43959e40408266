"""A document on disk: the page, the same in Markdown, and its figures as files."""

from __future__ import annotations

from pathlib import Path

from harness.errors import StoreError
from harness.report.document import Document
from harness.report.figures import svg
from harness.report.pages import html, markdown


def write_document(document: Document, out: Path) -> list[Path]:
    """Write the pages and figures of a document below ``out``; return what was written."""
    pages = {"index.html": html(document), "README.md": markdown(document)}
    drawn = {figure.file: svg(figure.specification) for figure in document.figures(drawn=True)}
    return [_write(out / name, text) for name, text in {**pages, **drawn}.items()]


def _write(path: Path, text: str) -> Path:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror}; choose another folder for the report") from None
    return path
