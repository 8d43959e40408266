"""Corrupting token ids for an encoder-decoder to restore: pure functions of ids and a seeded NumPy generator.

``span_corruption`` follows T5 (Raffel et al. 2020, arXiv:1910.10683, section 3.1.4; the counts are those of
``random_spans_noise_mask`` in its published code), ``text_infilling`` and ``line_order`` follow BART (Lewis et al.
2020, arXiv:1910.13461, section 2.2).
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.errors import StepError

if TYPE_CHECKING:
    import numpy


@dataclass(frozen=True)
class Corrupted:
    """What the encoder reads, what the decoder must give, and which tokens of the target the source does not show.

    ``hidden`` is parallel to ``target``; sentinels are not hidden, for they never stood in the text.
    """

    source: list[int]
    target: list[int]
    hidden: list[bool]


def span_corruption(
    ids: Sequence[int], density: float, mean_span_length: float, sentinels: Sequence[int],
    chance: numpy.random.Generator,
) -> Corrupted:  # fmt: skip
    """Replace spans of ``ids`` by sentinels in their order; the target is each sentinel followed by its span.

    Of n >= 2 tokens round(n x density) are hidden (at least 1, at most n - 1), in round(hidden / mean) spans with at
    least one token between them; the text begins with a token that is not hidden and ends with a span. As in that code,
    and unlike the paper's figure, no last sentinel closes the target. Raises ``StepError`` where there are more spans
    than ``sentinels``.
    """
    if len(ids) < 2:
        raise StepError(f"span corruption needs at least 2 tokens, not {len(ids)}")
    hidden = min(max(round(len(ids) * density), 1), len(ids) - 1)
    spans = min(max(round(hidden / mean_span_length), 1), hidden, len(ids) - hidden)
    if spans > len(sentinels):
        raise StepError(f"{spans} spans but {len(sentinels)} sentinels: shorten the sequence or lengthen the spans")
    found = Corrupted([], [], [])
    at = 0
    shown = _partition(len(ids) - hidden, spans, chance)
    for sentinel, before, length in zip(sentinels, shown, _partition(hidden, spans, chance), strict=False):
        found.source.extend([*ids[at : at + before], sentinel])
        found.target.extend([sentinel, *ids[at + before : at + before + length]])
        found.hidden.extend([False, *[True] * length])
        at += before + length
    return found


def text_infilling(
    ids: Sequence[int], density: float, mean_span_length: float, mask: int, chance: numpy.random.Generator
) -> Corrupted:
    """Replace spans of Poisson(``mean_span_length``) tokens by one mask token each; the target is ``ids``.

    round(n x density) tokens are hidden, at least 1. A span of no token puts a mask where nothing is missing. Spans and
    the tokens that are left stand in random order; there are never more spans than hidden tokens.
    """
    total = min(max(round(len(ids) * density), 1), len(ids))
    lengths = _poisson_lengths(total, mean_span_length, chance)
    order = chance.permutation([*lengths, *[-1] * (len(ids) - total)]).tolist()
    source: list[int] = []
    hidden: list[bool] = []
    for length in order:
        source.append(ids[len(hidden)] if length < 0 else mask)
        hidden.extend([False] if length < 0 else [True] * length)
    return Corrupted(source, list(ids), hidden)


def line_order(
    ids: Sequence[int], line_ends: Collection[int], document_end: int | None, chance: numpy.random.Generator
) -> list[int]:
    """Positions of ``ids`` with the lines of each document in random order; a document's end stays where it is.

    A line ends after a token of ``line_ends``. BART permutes sentences, found by full stops; in code a full stop ends
    none, so that the lines are permuted.
    """
    order: list[int] = []
    lines: list[list[int]] = [[]]
    for place, token in enumerate([*ids, document_end]):
        if token == document_end:
            order += [at for index in chance.permutation(len(lines)) for at in lines[index]]
            order += [place] if place < len(ids) else []
            lines = [[]]
            continue
        lines[-1].append(place)
        if token in line_ends:
            lines.append([])
    return order


def permuted_infilling(
    ids: Sequence[int], order: Sequence[int], density: float, mean_span_length: float, mask: int,
    chance: numpy.random.Generator,
) -> Corrupted:  # fmt: skip
    """Text infilling of ``ids`` in ``order``; the target is ``ids`` as they were."""
    found = text_infilling([ids[place] for place in order], density, mean_span_length, mask, chance)
    hidden = [False] * len(ids)
    for place, missing in zip(order, found.hidden, strict=True):
        hidden[place] = missing
    return Corrupted(found.source, list(ids), hidden)


def _partition(items: int, parts: int, chance: numpy.random.Generator) -> list[int]:
    """Lengths of ``parts`` non-empty pieces of ``items``, every partition equally likely."""
    cuts = sorted(chance.choice(items - 1, size=parts - 1, replace=False).tolist()) if parts > 1 else []
    edges = [0, *(cut + 1 for cut in cuts), items]
    return [end - start for start, end in itertools.pairwise(edges)]


def _poisson_lengths(total: int, mean: float, chance: numpy.random.Generator) -> list[int]:
    """Poisson lengths that sum to ``total``: the last one is cut, and takes the rest where there would be too many."""
    lengths: list[int] = []
    left = total
    while left:
        drawn = int(chance.poisson(mean)) if len(lengths) < total - 1 else left
        lengths.append(min(drawn, left))
        left -= lengths[-1]
    return lengths
