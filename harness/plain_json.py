"""JSON that anybody may have written: values that can be worked with, or one line on what is wrong.

Standard library alone.
"""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from stat import S_ISREG
from typing import Any, NoReturn

from harness.plain_text import encodable, one_line

LARGEST_BYTES = 1 << 28
DEEPEST = 100
_LARGE = re.compile(rb"(?:[\s\[:,\xbf-]|^)\d[\d.]*[eE]\+?\d{3}")
_MANY_DIGITS = b"0" * 300
_NUMERALS = bytes.maketrans(b"123456789E", b"000000000e")
_NUMERALS_ALONE = bytes(byte if byte in b"0123456789eE+" else 32 for byte in range(256)).translate(_NUMERALS)
_STRING = re.compile(rb'"[^"]*"')
_OTHERS = bytes(set(range(256)) - set(b'[]{}"'))


class NotPlain(ValueError):
    """The text is no JSON that can be worked with; the message is one line without the place."""


def read(path: Path) -> Any:
    """The value in a file; ``NotPlain`` where it is none, ``OSError`` where it cannot be read."""
    return loads(content_of(path))


def content_of(path: Path, largest: int = LARGEST_BYTES) -> bytes:
    """The bytes of a regular file; ``NotPlain`` for what is none (a pipe would block for ever) or is too large."""
    try:
        told = path.stat()
    except ValueError:  # a NUL in the name
        raise NotPlain("no file can be named so") from None
    if not S_ISREG(told.st_mode):
        raise NotPlain("it is no file")
    if told.st_size > largest:
        raise NotPlain(f"{told.st_size} bytes are more than it may have ({largest})")
    return path.read_bytes()


def loads(text: bytes | str) -> Any:
    """The value of a text; ``NotPlain`` for what is no JSON, NaN, infinite or nested deeper than ``DEEPEST``.

    Halves of UTF-16 pairs, which could not be written again, become the replacement character.
    """
    raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    try:
        found = json.loads(raw.decode("utf-8-sig"), parse_constant=_refuse)
    except RecursionError:
        raise NotPlain(f"nested more than {DEEPEST} deep") from None
    except NotPlain:
        raise
    except ValueError as error:
        raise NotPlain(one_line(error, 200)) from None
    return _checked(found, 0) if _suspect(raw) else found


def _suspect(raw: bytes) -> bool:
    """Whether a text may hold half of a UTF-16 pair, a number beyond what a float can, or too many levels.

    Only then is every value looked at, which takes longer than reading it.
    """
    numerals = raw.translate(_NUMERALS_ALONE)
    if b"\\ud" in raw or b"\\uD" in raw or _MANY_DIGITS in numerals:
        return True
    if (b"0e000" in numerals or b"0e+000" in numerals) and _LARGE.search(raw):  # digests have such parts too
        return True
    return raw.count(b"[") + raw.count(b"{") > DEEPEST and _levels(raw) > DEEPEST


def _levels(raw: bytes) -> int:
    """How deep valid JSON is nested: its brackets alone, without those in strings."""
    unquoted = raw.replace(b"\\\\", b"").replace(b'\\"', b"").translate(None, _OTHERS)
    depth = deepest = 0
    for bracket in _STRING.sub(b"", unquoted):
        depth += 1 if bracket in b"[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _refuse(constant: str) -> NoReturn:
    raise NotPlain(f"{constant} is no number")


def _checked(value: Any, depth: int) -> Any:
    if depth > DEEPEST:
        raise NotPlain(f"nested more than {DEEPEST} deep")
    if isinstance(value, dict):
        return {encodable(key): _checked(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        if value and all(type(item) is float or type(item) is int for item in value):
            _check_numbers(value)
            return value
        return [_checked(item, depth + 1) for item in value]
    if isinstance(value, str):
        return encodable(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise NotPlain("a number is too large")
    if isinstance(value, int) and value.bit_length() > 1000:
        raise NotPlain("a number is too large")
    return value


def _check_numbers(values: list[Any]) -> None:
    for value in values:
        if isinstance(value, float):
            if not math.isfinite(value):
                raise NotPlain("a number is too large")
        elif value.bit_length() > 1000:
            raise NotPlain("a number is too large")
