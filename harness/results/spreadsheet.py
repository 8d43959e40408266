"""Rows as a spreadsheet may open them: text that it would compute, or that a terminal would obey, is made harmless.

Numbers are columns of their own and stay as they are to the last digit.
"""

from __future__ import annotations

from typing import Any

import pandas

from harness.plain_text import spreadsheet_text


def for_spreadsheets(frame: pandas.DataFrame) -> pandas.DataFrame:
    """The frame with every text as ``spreadsheet_text`` gives it; the frame itself where none changes."""
    changed = {name: one for name in frame.columns if (one := _harmless(frame[name])) is not None}
    return frame.assign(**changed) if changed else frame


def _harmless(column: Any) -> Any:
    if not isinstance(column.dtype, pandas.CategoricalDtype):
        return None
    told = {text: spreadsheet_text(str(text)) for text in column.cat.categories}
    if all(text == shown for text, shown in told.items()):
        return None
    return column.astype(object).map(told, na_action="ignore")
