"""The reference line of the reports: how far byte n-grams get on the text that the models are trained on.

    python scripts/ngram_baseline.py [--orders 16] [--out docs/reference/ngram_source.json]

Two interpolated models per order, both from the train text alone, scored on every byte of the validation and test text:

- ``kneser_ney``: modified Kneser-Ney (Chen and Goodman 1998, section 3): raw counts at the highest order, numbers of
  different preceding bytes below it, three discounts per order.
- ``jelinek_mercer``: maximum-likelihood estimates mixed from order to order, one weight for each bucket of contexts
  (by how often the context was seen and by how many different bytes followed it). Weights by expectation
  maximisation on a tenth of the train documents with the counts of the rest; then all of train is counted.

A document begins after NUL bytes, which are never scored: a first byte is predicted from knowing that it is first.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.data import open_dataset
from harness.data.splits import order_of

ORDERS = 16
HELD_OUT = 10  # every tenth train document tunes the weights
BUCKETS = 48 * 16
EM_ROUNDS = 25

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Ids = NDArray[np.int32]


class Numbered:
    """All documents in one line of bytes, and for each order the number of the n-gram that ends at each byte.

    ``ids[order][position]``: two positions have the same number where the same ``order`` bytes end. Contexts are
    n-grams too: the context of the n-gram at a position is the n-gram of one order less at the position before.
    """

    def __init__(self, groups: Sequence[Sequence[str]], orders: int) -> None:
        pad = b"\0" * orders
        parts = [pad + pad.join(text.encode() for text in documents) for documents in groups]
        data = np.frombuffer(b"".join(parts), dtype=np.uint8).astype(np.int64)
        ends = np.cumsum([len(part) for part in parts])
        scored = np.flatnonzero(data)
        self.positions = np.split(scored, np.searchsorted(scored, ends[:-1]))
        self.ids: list[Ids] = [np.zeros(len(data), np.int32)]
        self.sizes = [1]
        for order in range(1, orders + 1):
            before = np.roll(data, order - 1)  # what wraps around stays within the first pad
            known, ids = np.unique(self.ids[-1].astype(np.int64) << 8 | before, return_inverse=True)
            self.ids.append(ids.astype(np.int32))
            self.sizes.append(len(known))


@dataclass(frozen=True)
class Counts:
    """How often each n-gram of one order was seen, by its number, and sums of that over each context, by its number."""

    grams: Ints
    totals: Floats
    distinct: Floats
    once: Floats
    twice: Floats

    @classmethod
    def of(cls, text: Numbered, order: int, seen: Ints) -> Counts:
        """Count the n-grams that end at the positions ``seen``."""
        ids, size = text.ids[order], text.sizes[order]
        grams = np.bincount(ids[seen], minlength=size)
        context = np.zeros(size, np.int32)
        context[ids[seen]] = text.ids[order - 1][seen - 1]
        kept = grams > 0
        context, found = context[kept], grams[kept]
        weights = [each.astype(np.float64) for each in (found, found > 0, found == 1, found == 2)]
        sums: list[Any] = [np.bincount(context, weight, text.sizes[order - 1]) for weight in weights]
        return cls(grams, *sums)

    @classmethod
    def continuations(cls, text: Numbered, order: int, seen: Ints) -> Counts:
        """Count each n-gram once for every different byte that precedes it."""
        last = np.full(text.sizes[order + 1], -1, np.int64)
        last[text.ids[order + 1][seen]] = seen
        return cls.of(text, order, last[last >= 0])


def kneser_ney_step(counts: Counts, grams: Ids, contexts: Ids, below: Floats) -> Floats:
    """Probability of each n-gram's last byte, from these counts discounted and the order below."""
    ones, twos, threes, fours = (float(np.count_nonzero(counts.grams == times)) for times in (1, 2, 3, 4))
    if ones and twos and threes:
        share = ones / (ones + 2 * twos)
        discounts = [1 - 2 * share * twos / ones, 2 - 3 * share * threes / twos, 3 - 4 * share * fours / threes]
    else:  # order 1: hardly any byte is rare, nothing to estimate discounts from
        discounts = [0.5, 0.5, 0.5]
    times, totals = counts.grams[grams], counts.totals[contexts]
    discount = np.array([0.0, *discounts])[np.minimum(times, 3)]
    once, twice = counts.once[contexts], counts.twice[contexts]
    left = discounts[0] * once + discounts[1] * twice + discounts[2] * (counts.distinct[contexts] - once - twice)
    mixed = (np.maximum(times - discount, 0) + left * below) / np.maximum(totals, 1)
    return np.where(totals > 0, mixed, below)


def kneser_ney(text: Numbered, seen: Ints, asked: Ints) -> list[float]:
    """Bits per byte at the positions ``asked`` of the models of order 1, 2, ... counted at the positions ``seen``."""
    below = np.full(len(asked), 1 / 256)
    result = []
    for order in range(1, len(text.ids)):
        grams, contexts = text.ids[order][asked], text.ids[order - 1][asked - 1]
        result.append(bits(kneser_ney_step(Counts.of(text, order, seen), grams, contexts, below)))
        if order + 1 < len(text.ids):
            below = kneser_ney_step(Counts.continuations(text, order, seen), grams, contexts, below)
    return result


def bucket(counts: Counts, contexts: Ids) -> Ints:
    """Bucket of each context: half-powers of two of its count and of its distinct next bytes."""
    often = np.minimum(2 * np.log2(np.maximum(counts.totals[contexts], 1)), 47).astype(np.int64)
    different = np.minimum(2 * np.log2(np.maximum(counts.distinct[contexts], 1)), 15).astype(np.int64)
    found: Ints = often * 16 + different
    return found


def tuned_weights(counts: Counts, grams: Ids, contexts: Ids, below: Floats) -> Floats:
    """Weight of the maximum-likelihood estimate in each bucket: expectation maximisation on held-out n-grams."""
    known = counts.totals[contexts] > 0
    grams, contexts, below = grams[known], contexts[known], below[known]
    estimate, place = counts.grams[grams] / counts.totals[contexts], bucket(counts, contexts)
    members = np.bincount(place, minlength=BUCKETS)
    weights = np.full(BUCKETS, 0.5)
    for _ in range(EM_ROUNDS):
        own = weights[place] * estimate
        mixed = own + (1 - weights[place]) * below
        weights = (np.bincount(place, own / mixed, BUCKETS) + 1) / (members + 2)
    return weights


def mix(counts: Counts, grams: Ids, contexts: Ids, below: Floats, weights: Floats) -> Floats:
    """Probability of each n-gram's last byte: the bucket's weight of its estimate, the rest of the order below."""
    totals = counts.totals[contexts]
    weight = np.where(totals > 0, weights[bucket(counts, contexts)], 0.0)
    return weight * counts.grams[grams] / np.maximum(totals, 1) + (1 - weight) * below


def jelinek_mercer(text: Numbered, kept: Ints, held: Ints, asked: Ints) -> list[float]:
    """Bits per byte at ``asked`` by order: weights tuned on ``held`` with counts of ``kept``, then both are counted."""
    seen = np.concatenate([kept, held])
    tuning, below = np.full(len(held), 1 / 256), np.full(len(asked), 1 / 256)
    result = []
    for order in range(1, len(text.ids)):
        part = Counts.of(text, order, kept)
        grams, contexts = text.ids[order][held], text.ids[order - 1][held - 1]
        weights = tuned_weights(part, grams, contexts, tuning)
        tuning = mix(part, grams, contexts, tuning, weights)
        grams, contexts = text.ids[order][asked], text.ids[order - 1][asked - 1]
        below = mix(Counts.of(text, order, seen), grams, contexts, below, weights)
        result.append(bits(below))
    return result


def bits(probabilities: Floats) -> float:
    """Mean negative log2."""
    return float(-np.log2(probabilities).mean())


def baseline(train: Sequence[str], held_out: dict[str, list[str]], orders: int) -> dict[str, dict[str, list[float]]]:
    """Return model -> split -> bits per byte of the orders 1 to ``orders``."""
    in_order = sorted(train, key=order_of)
    tenth = in_order[::HELD_OUT]
    rest = [text for index, text in enumerate(in_order) if index % HELD_OUT]
    text = Numbered([rest, tenth, *held_out.values()], orders)
    kept, held, *asked = text.positions
    result: dict[str, dict[str, list[float]]] = {"kneser_ney": {}, "jelinek_mercer": {}}
    for split, positions in zip(held_out, asked, strict=True):
        result["kneser_ney"][split] = kneser_ney(text, np.concatenate([kept, held]), positions)
        result["jelinek_mercer"][split] = jelinek_mercer(text, kept, held, positions)
    return result


def best_of(models: dict[str, dict[str, list[float]]]) -> dict[str, object]:
    """The model and order with the fewest bits on validation, and what it scores on test."""
    score, model, order = min(
        (value, name, index) for name, splits in models.items() for index, value in enumerate(splits["validation"])
    )
    return {"model": model, "order": order + 1, "validation": score, "test": models[model]["test"][order]}


def main() -> None:
    """Train, score, print a table and write the JSON file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--orders", type=int, default=ORDERS)
    parser.add_argument("--cache", type=Path, default=Path("results/.cache"))
    parser.add_argument("--out", type=Path, default=Path("docs/reference/ngram_source.json"))
    arguments = parser.parse_args()
    started = time.monotonic()
    data = open_dataset({"kind": "source"}, cache=arguments.cache)
    held_out = {split: data.view("text", split) for split in ("validation", "test")}
    train = data.view("text", "train")
    models = baseline(train, held_out, arguments.orders)
    for model, splits in models.items():
        for split, values in splits.items():
            print(f"{model:15} {split:11}", *(f"{order}:{value:.3f}" for order, value in enumerate(values, start=1)))
    size = {name: sum(len(text.encode()) for text in texts) for name, texts in {"train": train, **held_out}.items()}
    result = {
        "data": data.name,
        "fingerprint": data.fingerprint,
        "bytes": size,
        "best": best_of(models),
        "bits_per_byte": models,
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(f"{result['best']} in {time.monotonic() - started:.0f} s, written to {arguments.out}")


if __name__ == "__main__":
    main()
