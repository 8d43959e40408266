"""Text that came from elsewhere, made fit to be shown: nothing in it moves a cursor, ends a line or reverses it.

Names, reasons and the last lines of logs are anybody's. Whoever shows them (terminal, page, Markdown, CI) passes them
through here; what is written for machines keeps them as they are. Standard library alone.
"""

from __future__ import annotations

import re

# Forbidden in XML 1.0, obeyed by terminals, taken for an end of line, or changing the order in which text is read.
_UNSHOWABLE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufeff\ufff9-\ufffb"
    "\ufffe\uffff\U000e0001\U000e0020-\U000e007f]"
)
# What a workflow's runner obeys wherever it stands in a line, or at a line's beginning.
_COMMAND = re.compile(r"##(?=\[)|^[^\S\n]*:(?=:)", re.MULTILINE)
_SURROGATE = re.compile("[\ud800-\udfff]")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
LONGEST_NAME = 128
# What a spreadsheet takes for the beginning of a formula, or of one behind a cell that it makes of the rest.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def clean(text: object) -> str:
    r"""``text`` with each character that must not be shown as its escape (``\u001b``); line ends and tabs stay."""
    return _UNSHOWABLE.sub(_escape, str(text).replace("\r\n", "\n").replace("\r", "\n"))


def one_line(text: object, most: int | None = None) -> str:
    """The same on one line, without blanks at its ends, cut to ``most`` characters."""
    shown = clean(" ".join(str(text).split()))
    return shown if most is None or len(shown) <= most else f"{shown[: most - 1]}…"


def inert(text: str) -> str:
    """``text`` in which a CI runner finds no command: ``##[`` and, first in a line, ``::`` have a blank in it."""
    return _COMMAND.sub(r"\g<0> ", text)


def encodable(text: str) -> str:
    """``text`` with halves of UTF-16 pairs, which UTF-8 cannot write, as the replacement character."""
    return _SURROGATE.sub("\ufffd", text)


def replaced(text: str) -> str:
    """``text`` with each character that must not be shown as the replacement character, for pictures."""
    return _UNSHOWABLE.sub("\ufffd", text)


def is_name(text: object) -> bool:
    """Whether ``text`` may be the name of a file or folder: letters, digits, ``.``, ``_`` and ``-``, no leading dot."""
    return isinstance(text, str) and len(text) <= LONGEST_NAME and _NAME.fullmatch(text) is not None


def slug(text: object, otherwise: str = "x") -> str:
    """A name for a file or folder that reads like ``text``; whatever comes in, it lies where it is put."""
    kept = re.sub(r"[^A-Za-z0-9._-]+", "-", str(text)).strip("-._")[:LONGEST_NAME].strip("-._")
    return kept or otherwise


def spreadsheet_text(text: str) -> str:
    """A text as a field of CSV: one that a spreadsheet would compute has an apostrophe before it (OWASP)."""
    shown = clean(text)
    return f"'{shown}" if text.startswith(_FORMULA) else shown


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
