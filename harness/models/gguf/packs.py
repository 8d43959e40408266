"""Continuations scored in llama.cpp: many texts in one batch, what they begin with read once for all of them.

In llama.cpp a token may belong to several texts at once; keys and values of all lie in one cache, and each text sees
its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from harness.models.continuations import Continued, Pair
from harness.models.packing import Pack, packed

if TYPE_CHECKING:
    import numpy

    from harness.models.gguf.runtime import LlamaCpp

# What is computed at once, and how many texts llama.cpp keeps apart.
TOKENS, TEXTS = 512, 256


def score(runtime: LlamaCpp, pairs: Sequence[Pair]) -> list[Continued]:
    """For each context and continuation the log-probabilities of its tokens, and whether each is the likeliest."""
    texts = [[*context, *continuation[:-1]] for context, continuation in pairs]
    found: dict[int, Continued] = {}
    for batch in _batches(packed(texts, TOKENS, TEXTS)):
        rows = _Rows(batch, texts, pairs)
        logits = runtime.read_together(rows.ids, rows.positions, rows.owners, sorted(rows.asked))
        found |= rows.scored(logits, pairs)
    return [found[place] for place in range(len(pairs))]


def _batches(packs: Sequence[Pack]) -> Iterator[list[Pack]]:
    batch: list[Pack] = []
    for pack in packs:
        tokens = sum(one.tokens for one in batch) + pack.tokens
        members = sum(len(one.members) for one in batch) + len(pack.members)
        if batch and (tokens > TOKENS or members > TEXTS):
            yield batch
            batch = []
        batch.append(pack)
    if batch:
        yield batch


class _Rows:
    """The tokens of one batch in their order: ids, positions, the texts that own each, whose logits are asked for."""

    def __init__(self, batch: Sequence[Pack], texts: Sequence[Sequence[int]], pairs: Sequence[Pair]) -> None:
        self.ids: list[int] = []
        self.positions: list[int] = []
        self.owners: list[list[int]] = []
        self.asked: set[int] = set()
        self._rows_of: dict[int, list[int]] = {}
        text = 0
        for pack in batch:
            numbers = list(range(text, text + len(pack.members)))
            text += len(numbers)
            begin = len(self.ids)
            self._add(texts[pack.members[0]][: pack.shared], 0, numbers)
            for number, place in zip(numbers, pack.members, strict=True):
                own = len(self.ids)
                self._add(texts[place][pack.shared :], pack.shared, [number])
                rows = [*range(begin, begin + pack.shared), *range(own, len(self.ids))]
                self._rows_of[place] = rows[len(pairs[place][0]) - 1 :]
                self.asked.update(self._rows_of[place])

    def _add(self, ids: Sequence[int], position: int, owners: list[int]) -> None:
        self.ids += ids
        self.positions += range(position, position + len(ids))
        self.owners += [owners] * len(ids)

    def scored(self, logits: numpy.ndarray, pairs: Sequence[Pair]) -> dict[int, Continued]:
        """Scores by place of the pair, of float32 [asked, vocabulary]."""
        import numpy

        output = {row: number for number, row in enumerate(sorted(self.asked))}
        best = logits.argmax(axis=1)
        highest = logits.max(axis=1)
        total = highest + numpy.log(numpy.exp(logits - highest[:, None]).sum(axis=1))
        found = {}
        for place, rows in self._rows_of.items():
            at, targets = [output[row] for row in rows], numpy.asarray(pairs[place][1])
            right = bool((best[at] == targets).all())
            found[place] = Continued((logits[at, targets] - total[at]).astype("float32"), right)
        return found
