"""A text cut into pieces that are merged pair by pair, with all counts kept up to date: what a trainer chooses from.

Words are counted once; a merge touches only the words that contain its pair. The counts of pairs are held in arrays,
so that any score of all of them is a few vector operations, and the best one can be found anew after every merge.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy

Pair = tuple[int, int]
COUNT = 2  # row of the table of pairs; 0 and 1 are the left and the right piece


@dataclass(frozen=True)
class Neighbours:
    """Counts around every pair, int64 [pairs]: of the pair itself, of its left and of its right piece.

    ``same`` is true where left and right are the same piece; ``total`` is the number of all pieces of the text.
    """

    pair: numpy.ndarray
    left: numpy.ndarray
    right: numpy.ndarray
    same: numpy.ndarray
    total: int


Score = Callable[[Neighbours], "numpy.ndarray"]


class CutText:
    """The words of a text, with how often each occurs, cut into characters; all but a word's first bear ``mark``.

    ``first`` are the pieces to begin with, every such character among them. A run ``xxx`` has one merge of x with x,
    and counts so; ``overlapping`` counts two, as the tokenizers library does.
    """

    def __init__(self, words: Mapping[str, int], first: Sequence[str], mark: str, *, overlapping: bool = False) -> None:
        ids = {piece: index for index, piece in enumerate(first)}
        self.pieces, self.mark, self.overlapping = list(first), mark, overlapping
        self.weights = list(words.values())
        self.words = [[ids[mark * (at > 0) + one] for at, one in enumerate(word)] for word in words]
        self.counts = [0] * len(first)
        self.table = PairTable()
        change: Counter[Pair] = Counter()
        for index, word in enumerate(self.words):
            for piece in word:
                self.counts[piece] += self.weights[index]
            for pair in self._pairs_of(word):
                change[pair] += self.weights[index]
                self.table.places[pair].add(index)
        self.table.add(change)

    def neighbours(self, min_frequency: int) -> tuple[numpy.ndarray, Neighbours]:
        """Pairs that occur ``min_frequency`` times, int64 [2, pairs] in no order, and the counts around them."""
        import numpy

        found = self.table.at_least(min_frequency)
        left, right, pair = found
        counts = numpy.array(self.counts)
        return found[:COUNT], Neighbours(pair, counts[left], counts[right], left == right, sum(self.counts))

    def best(self, score: Score, min_frequency: int) -> Pair | None:
        """The pair of highest ``score`` of those that occur ``min_frequency`` times; None where no score is above 0.

        Of equals the one whose left piece is oldest, then the one whose right piece is.
        """
        pairs, counts = self.neighbours(min_frequency)
        scores = score(counts)
        if not scores.size or scores.max() <= 0:
            return None
        left, right = min(pairs[:, scores == scores.max()].T.tolist())
        return left, right

    def merge(self, pair: Pair) -> None:
        """Merge every occurrence of ``pair``, from the left, into a new piece.

        No other pair can have made that piece before: a merge cuts equal stretches between two borders equally.
        """
        made = len(self.pieces)
        self.pieces.append(self.pieces[pair[0]] + self.pieces[pair[1]].removeprefix(self.mark))
        self.counts.append(0)
        change: Counter[Pair] = Counter()
        for index in self.table.places[pair]:
            before, weight = self.words[index], self.weights[index]
            after = self.words[index] = merged(before, pair, made)
            times = weight * (len(before) - len(after))
            for piece, by in ((pair[0], -times), (pair[1], -times), (made, times)):
                self.counts[piece] += by
            for old in self._pairs_of(before):
                change[old] -= weight
            for new in self._pairs_of(after):
                change[new] += weight
                if made in new:
                    self.table.places[new].add(index)
        self.table.add(change)

    def _pairs_of(self, word: Sequence[int]) -> Iterator[Pair]:
        """Neighbours in ``word``; of two that overlap in ``xxx`` the first alone, for that is what a merge takes."""
        previous = None
        for pair in pairwise(word):
            if pair == previous and not self.overlapping:
                previous = None
                continue
            previous = pair
            yield pair


class PairTable:
    """Left piece, right piece and count of every pair of neighbours, int64 [3, slots], and the words where it stands.

    ``places`` are the indices of the words that contain a pair, or did. The slot of a pair that has gone is used again.
    """

    def __init__(self) -> None:
        import numpy

        self.rows = numpy.zeros((3, 1), dtype=numpy.int64)
        self.free = [0]
        self.slots: dict[Pair, int] = {}
        self.places: defaultdict[Pair, set[int]] = defaultdict(set)

    def at_least(self, count: int) -> numpy.ndarray:
        """Rows of the pairs that occur ``count`` times or more, int64 [3, pairs]."""
        found: numpy.ndarray = self.rows[:, (self.rows[COUNT] >= max(1, count)).nonzero()[0]]
        return found

    def add(self, change: Mapping[Pair, int]) -> None:
        """Change the counts of pairs; one that comes to 0 is forgotten."""
        for pair, by in change.items():
            if not by:
                continue
            slot = self.slots[pair] if pair in self.slots else self._insert(pair)
            self.rows[COUNT, slot] += by
            if not self.rows[COUNT, slot]:
                self.free.append(self.slots.pop(pair))
                del self.places[pair]

    def _insert(self, pair: Pair) -> int:
        import numpy

        if not self.free:
            size = self.rows.shape[1]
            self.rows = numpy.concatenate([self.rows, numpy.zeros_like(self.rows)], axis=1)
            self.free = list(range(size, 2 * size))
        slot = self.slots[pair] = self.free.pop()
        self.rows[:, slot] = (*pair, 0)
        return slot


def merged(word: Sequence[int], pair: Pair, made: int) -> list[int]:
    """``word`` with every occurrence of ``pair``, from the left, replaced by ``made``."""
    found, at = [], 0
    while at < len(word):
        fits = word[at] == pair[0] and at + 1 < len(word) and word[at + 1] == pair[1]
        found.append(made if fits else word[at])
        at += 2 if fits else 1
    return found
