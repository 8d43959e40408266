"""Rows as a spreadsheet may open them: text that it would compute, or that a terminal would obey, is made harmless.

Numbers are columns of their own and stay as they are to the last digit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas

from harness.plain_text import spreadsheet_text


def for_spreadsheets(frame: pandas.DataFrame) -> pandas.DataFrame:
    """The frame with every text as ``spreadsheet_text`` gives it; the frame itself where none changes."""
    return with_texts(frame, spreadsheet_text)


def with_texts(frame: pandas.DataFrame, change: Callable[[str], str]) -> pandas.DataFrame:
    """The frame with ``change`` made to every text, each asked for once; the frame itself where none changes."""
    changed = {name: one for name in frame.columns if (one := _changed(frame[name], change)) is not None}
    return frame.assign(**changed) if changed else frame


def _changed(column: Any, change: Callable[[str], str]) -> Any:
    if not isinstance(column.dtype, pandas.CategoricalDtype):
        return None
    told = {text: change(str(text)) for text in column.cat.categories}
    if all(text == shown for text, shown in told.items()):
        return None
    return column.astype(object).map(told, na_action="ignore")
