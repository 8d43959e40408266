"""Cuts tokenised documents into sequences: packed ones to train on, spread-out ones to be scored. Pure functions.

Training and tasks share them, so that what is scored is laid out as what was trained on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def pack(documents: Sequence[Sequence[int]], length: int, bos_id: int | None, eos_id: int | None) -> list[list[int]]:
    """Return training sequences of exactly ``length`` tokens: the documents one after another, each ended by EOS.

    With ``bos_id`` every sequence begins with it, as every scored window does. The last,
    incomplete sequence is dropped.
    """
    front = [] if bos_id is None else [bos_id]
    room = _room(length, front)
    end = [] if eos_id is None else [eos_id]
    stream = [token for document in documents if document for token in [*document, *end]]
    return [front + stream[start : start + room] for start in range(0, len(stream) - room + 1, room)]


def evaluation_windows(
    documents: Sequence[Sequence[int]], length: int, bos_id: int | None, limit: int | None = None
) -> list[list[int]]:
    """Return windows of at most ``length`` tokens that do not overlap; each is scored from its second token on.

    With ``bos_id`` it stands in front of every window, so every token of the text in it is scored; without one a
    window's first token is context only. No window spans two documents. A document's last piece counts where it is at
    least half a window, or all there is of the document. Of more than ``limit`` windows, that many are taken at equal
    distances over all of them, so that they come from all documents in proportion to their lengths.
    """
    return [window for _, window in numbered_windows(documents, length, bos_id, limit)]


def numbered_windows(
    documents: Sequence[Sequence[int]], length: int, bos_id: int | None, limit: int | None = None
) -> list[tuple[int, list[int]]]:
    """Return the same windows, each with the place of its document, by which other tokenizers' windows compare."""
    front = [] if bos_id is None else [bos_id]
    room = _room(length, front)
    windows = [(place, front + piece) for place, document in enumerate(documents) for piece in _pieces(document, room)]
    return spread([pair for pair in windows if len(pair[1]) >= 2], limit)


def spread(items: Sequence[T], limit: int | None) -> list[T]:
    """Return at most ``limit`` of the items, at equal distances and in their order; all of them for ``None``."""
    if limit is None or limit >= len(items):
        return list(items)
    return [items[(2 * index + 1) * len(items) // (2 * limit)] for index in range(limit)]


def _pieces(document: Sequence[int], room: int) -> list[list[int]]:
    pieces = [list(document[start : start + room]) for start in range(0, len(document), room)]
    if len(pieces) > 1 and 2 * len(pieces[-1]) < room:
        pieces.pop()
    return pieces


def _room(length: int, front: Sequence[int]) -> int:
    if length < 2:
        raise ValueError(f"a sequence needs at least 2 tokens, not {length}")
    return length - len(front)
