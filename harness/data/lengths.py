"""Documents of a stated length made from whole ones, and equal helpings of them: what speed of encoding depends on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

TWEET = 280
LENGTHS = ("tweet", "paragraph", "file")


def of_length(texts: Iterable[str], length: str) -> Iterator[str]:
    """Yield documents of one length: ``tweet`` (at most 280 characters), ``paragraph`` (between blank lines), ``file``.

    Pieces that are white space alone are left out.
    """
    for text in texts:
        pieces = [text] if length == "file" else text.split("\n\n")
        for piece in pieces:
            parts = [piece]
            if length == "tweet":
                parts = [piece[start : start + TWEET] for start in range(0, len(piece), TWEET)]
            yield from (part for part in parts if part.strip())


def helpings(documents: Sequence[str], count: int, limit: int) -> list[list[str]]:
    """Deal documents in turn into ``count`` lists, each of at most ``limit`` UTF-8 bytes (or one document).

    No document is in two of them, so that a cache filled by one helps the next no more than it would a user.
    """
    found: list[list[str]] = [[] for _ in range(count)]
    sizes = [0] * count
    for document in documents:
        smallest = min(range(count), key=sizes.__getitem__)
        size = len(document.encode("utf-8", "surrogatepass"))
        if not found[smallest] or sizes[smallest] + size <= limit:
            found[smallest].append(document)
            sizes[smallest] += size
    return found
