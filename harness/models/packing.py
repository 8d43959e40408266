"""Texts that begin alike, put together so that what they share is computed once. Standard library alone.

A pack is a common beginning and what is left of each text after it. Two runtimes read packs: transformers as one row
with a mask (``harness.models.continuations``), llama.cpp as one batch of several texts (``harness.models.gguf``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

LONGEST_PACK = 2048
# A pack is attended to as a whole: so many times the positions that its texts would attend to one by one.
MOST_ATTENTION = 2.5


@dataclass
class Pack:
    """``members`` are places of the texts; their first ``shared`` tokens are the same, ``lengths`` are whole ones."""

    members: list[int]
    shared: int
    lengths: list[int]

    @property
    def tokens(self) -> int:
        """Tokens that are computed: the beginning once, and every end."""
        return sum(self.lengths) - (len(self.lengths) - 1) * self.shared


def packed(texts: Sequence[Sequence[int]], longest: int = LONGEST_PACK, most: int = LONGEST_PACK) -> list[Pack]:
    """Put texts into packs wherever that saves tokens and does not cost much more attention; each text is in one pack.

    A pack has at most ``longest`` tokens and ``most`` texts. Sorted, texts that share most stand side by side; the same
    texts give the same packs, whatever their order.
    """
    order = sorted(range(len(texts)), key=lambda place: (list(texts[place]), place))
    found: list[Pack] = []
    for place in order:
        text = texts[place]
        if found:
            last = found[-1]
            shared = _common(texts[last.members[0]], text, last.shared)
            grown = Pack([*last.members, place], shared, [*last.lengths, len(text)])
            if shared and len(last.members) < most and _pays(last, grown, longest):
                found[-1] = grown
                continue
        found.append(Pack([place], len(text), [len(text)]))
    return found


def _common(first: Sequence[int], second: Sequence[int], most: int) -> int:
    """How many of the first ``most`` tokens are the same in both."""
    most = min(most, len(second))
    if first[:most] == second[:most]:
        return most
    return next(place for place in range(most) if first[place] != second[place])


def _pays(pack: Pack, grown: Pack, longest: int) -> bool:
    apart = pack.tokens + grown.lengths[-1]
    attended = sum(length * length for length in grown.lengths)
    # An eighth at least: a mask costs more than none.
    return (
        grown.tokens <= longest
        and 8 * grown.tokens <= 7 * apart
        and grown.tokens * grown.tokens <= MOST_ATTENTION * attended
    )
