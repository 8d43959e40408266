"""Code of the same characters that is worse: its names, or its lines, in another order.

The rejected sides of the embedded preference pairs. Neither length nor which words occur tells the two sides apart,
only whether the code holds together.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Callable

from harness.data.splits import order_of

_WORD = re.compile(r"\b[A-Za-z_]\w*")


def scrambled(code: str, key: str) -> str | None:
    """``code`` with its names or its lines permuted, which by a hash of ``key``; None where neither differs."""
    ways: list[Callable[[str, str], str]] = [names_permuted, lines_permuted]
    for way in ways if order_of(f"scrambled:{key}") % 2 else reversed(ways):
        made = way(code, key)
        if made != code:
            return made
    return None


def names_permuted(code: str, key: str) -> str:
    """Every name but Python's keywords at the place of another one, each as often as before."""
    found = [match for match in _WORD.finditer(code) if not keyword.iskeyword(match.group())]
    order = sorted(range(len(found)), key=lambda place: order_of(f"{key}:name:{place}"))
    parts, end = [], 0
    for match, place in zip(found, order, strict=True):
        parts += [code[end : match.start()], found[place].group()]
        end = match.end()
    return "".join([*parts, code[end:]])


def lines_permuted(code: str, key: str) -> str:
    """The same lines, each with its indentation, in another order; the line breaks at the end stay where they are."""
    body = code.rstrip("\n")
    lines = body.split("\n")
    order = sorted(range(len(lines)), key=lambda place: order_of(f"{key}:line:{place}"))
    return "\n".join(lines[place] for place in order) + code[len(body) :]
