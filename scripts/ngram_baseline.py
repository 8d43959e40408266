"""The reference line of the reports: how far byte n-grams get on the text that the models are trained on.

    python scripts/ngram_baseline.py [--orders 8] [--out docs/reference/ngram_source.json]

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

import numpy as np
from numpy.typing import NDArray

from harness.data import open_dataset
from harness.data.splits import order_of

MOST_ORDERS = 8  # an n-gram of bytes must fit into 64 bits
HELD_OUT = 10  # every tenth train document tunes the weights
BUCKETS = 48 * 16
EM_ROUNDS = 25

Floats = NDArray[np.float64]
Codes = NDArray[np.uint64]


@dataclass(frozen=True)
class Counts:
    """How often each n-gram of one order occurs, and what that says about its contexts. Codes are sorted."""

    grams: Codes
    counts: NDArray[np.int64]
    contexts: Codes
    totals: Floats
    distinct: Floats
    once: Floats
    twice: Floats

    @classmethod
    def of(cls, grams: Codes, counts: NDArray[np.int64]) -> Counts:
        """Sum the sorted n-grams up by context (all bytes but the last)."""
        contexts, starts = np.unique(grams >> np.uint64(8), return_index=True)
        add = [np.add.reduceat(values, starts).astype(np.float64) for values in (counts, counts == 1, counts == 2)]
        distinct = np.diff(np.append(starts, len(grams))).astype(np.float64)
        return cls(grams, counts, contexts, add[0], distinct, add[1], add[2])

    def lower(self, order: int) -> Counts:
        """Continuation counts one order below: for each n-gram, how many different bytes precede it."""
        mask = np.uint64((1 << (8 * order)) - 1)
        return Counts.of(*np.unique(self.grams & mask, return_counts=True))

    def look_up(self, grams: Codes) -> tuple[Floats, NDArray[np.int64], NDArray[np.bool_]]:
        """For each asked n-gram: its count, the row of its context, and whether that context was seen at all."""
        at = np.minimum(np.searchsorted(self.grams, grams), len(self.grams) - 1)
        count = np.where(self.grams[at] == grams, self.counts[at], 0).astype(np.float64)
        asked = grams >> np.uint64(8)
        row = np.minimum(np.searchsorted(self.contexts, asked), len(self.contexts) - 1)
        return count, row, self.contexts[row] == asked


def codes(documents: Sequence[str], orders: int) -> list[Codes]:
    """Return for each order the code of every scored byte with the bytes before it: ``[orders][bytes]``."""
    pad = b"\0" * MOST_ORDERS
    data = np.frombuffer(pad + pad.join(document.encode() for document in documents), dtype=np.uint8)
    scored = np.flatnonzero(data)
    result = [data[scored].astype(np.uint64)]
    for order in range(2, orders + 1):
        result.append(result[-1] | (data[scored - (order - 1)].astype(np.uint64) << np.uint64(8 * (order - 1))))
    return result


def count(per_order: Sequence[Codes]) -> list[Counts]:
    """Count every order's n-grams."""
    return [Counts.of(*np.unique(grams, return_counts=True)) for grams in per_order]


def kneser_ney_step(counts: Counts, grams: Codes, below: Floats) -> Floats:
    """Probability of each n-gram's last byte, from these counts discounted and the order below."""
    ones, twos, threes, fours = (float(np.count_nonzero(counts.counts == times)) for times in (1, 2, 3, 4))
    if not (ones and twos and threes):  # order 1: hardly any byte is rare, nothing to estimate discounts from
        discounts = [0.5, 0.5, 0.5]
    else:
        share = ones / (ones + 2 * twos)
        discounts = [1 - 2 * share * twos / ones, 2 - 3 * share * threes / twos, 3 - 4 * share * fours / threes]
    times, row, seen = counts.look_up(grams)
    discount = np.array([0.0, *discounts])[np.minimum(times, 3).astype(np.int64)]
    once, twice = counts.once[row], counts.twice[row]
    left = discounts[0] * once + discounts[1] * twice + discounts[2] * (counts.distinct[row] - once - twice)
    return np.where(seen, (np.maximum(times - discount, 0) + left * below) / counts.totals[row], below)


def kneser_ney(raw: Sequence[Counts], per_order: Sequence[Codes]) -> list[float]:
    """Bits per byte of the model of each order, 1 to ``len(raw)``."""
    below = np.full(len(per_order[0]), 1 / 256)
    result = []
    for order, grams in enumerate(per_order, start=1):
        result.append(bits(kneser_ney_step(raw[order - 1], grams, below)))
        if order < len(raw):
            below = kneser_ney_step(raw[order].lower(order), grams, below)
    return result


def bucket(counts: Counts, row: NDArray[np.int64]) -> NDArray[np.int64]:
    """Bucket of each context: half-powers of two of its count and of its distinct next bytes."""
    often = np.minimum(2 * np.log2(counts.totals[row]), 47).astype(np.int64)
    spread = np.minimum(2 * np.log2(counts.distinct[row]), 15).astype(np.int64)
    found: NDArray[np.int64] = often * 16 + spread
    return found


def tuned_weights(counts: Counts, grams: Codes, below: Floats) -> Floats:
    """Weight of the maximum-likelihood estimate in each bucket: expectation maximisation on held-out n-grams."""
    times, row, seen = counts.look_up(grams)
    estimate, place = times[seen] / counts.totals[row[seen]], bucket(counts, row[seen])
    members = np.bincount(place, minlength=BUCKETS)
    weights = np.full(BUCKETS, 0.5)
    for _ in range(EM_ROUNDS):
        own = weights[place] * estimate
        mixed = own + (1 - weights[place]) * below[seen]
        weights = (np.bincount(place, own / mixed, BUCKETS) + 1) / (members + 2)
    return weights


def mix(counts: Counts, grams: Codes, below: Floats, weights: Floats) -> Floats:
    """Probability of each n-gram's last byte: the bucket's weight of its estimate, the rest of the order below."""
    times, row, seen = counts.look_up(grams)
    weight = np.where(seen, weights[bucket(counts, row)], 0.0)
    return weight * times / counts.totals[row] + (1 - weight) * below


def tune(train: Sequence[str], orders: int) -> list[Floats]:
    """Weights of every order, tuned on held-out train documents against the counts of the others."""
    in_order = sorted(train, key=order_of)
    kept = [text for index, text in enumerate(in_order) if index % HELD_OUT]
    held = codes(in_order[::HELD_OUT], orders)
    below = np.full(len(held[0]), 1 / 256)
    weights = []
    for grams, counts in zip(held, count(codes(kept, orders)), strict=True):
        weights.append(tuned_weights(counts, grams, below))
        below = mix(counts, grams, below, weights[-1])
    return weights


def jelinek_mercer(raw: Sequence[Counts], per_order: Sequence[Codes], weights: Sequence[Floats]) -> list[float]:
    """Bits per byte of the model of each order, 1 to ``len(raw)``."""
    below = np.full(len(per_order[0]), 1 / 256)
    result = []
    for counts, grams, weight in zip(raw, per_order, weights, strict=True):
        below = mix(counts, grams, below, weight)
        result.append(bits(below))
    return result


def bits(probabilities: Floats) -> float:
    """Mean negative log2."""
    return float(-np.log2(probabilities).mean())


def baseline(train: Sequence[str], held_out: dict[str, list[str]], orders: int) -> dict[str, dict[str, list[float]]]:
    """Return model -> split -> bits per byte of the orders 1 to ``orders``."""
    weights = tune(train, orders)
    raw = count(codes(train, orders))
    result: dict[str, dict[str, list[float]]] = {"kneser_ney": {}, "jelinek_mercer": {}}
    for split, documents in held_out.items():
        asked = codes(documents, orders)
        result["kneser_ney"][split] = kneser_ney(raw, asked)
        result["jelinek_mercer"][split] = jelinek_mercer(raw, asked, weights)
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
    parser.add_argument("--orders", type=int, default=MOST_ORDERS, choices=range(1, MOST_ORDERS + 1))
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
