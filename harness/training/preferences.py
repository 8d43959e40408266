"""Preference pairs as token ids: which of them a stage reads, how long they may be, and what is left out and why.

An answer is cut where prompt and answer together pass the sequence length, as TRL cuts it. Left out are pairs whose
prompt leaves too little room, whose sides are the same (also once they are cut), or that have an empty side.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.contract import Dataset, Meter
from harness.data.splits import order_of
from harness.errors import DataError
from harness.models.chat import Prompt
from harness.models.scoring import target_log_probabilities
from harness.training.examples import answer_ids, prompt_ids

HALVES = ("first", "second", "all")
SHORTEST = 4
"""Tokens of an answer that a prompt has to leave room for."""


@dataclass(frozen=True)
class Pair:
    """Token ids of a prompt, of the answer that was preferred and of the other; ``place`` is that in the split."""

    prompt: list[int]
    chosen: list[int]
    rejected: list[int]
    place: int


@dataclass(frozen=True)
class Pairs:
    """The pairs that can be used, and how many cannot, by reason."""

    found: list[Pair]
    left_out: dict[str, int]

    def tell(self, meter: Meter, name: str) -> None:
        """Record what is there; a fault of the data is flagged, a prompt that is too long is not one."""
        meter.observe(name, {"used": len(self.found), "left_out": self.left_out})
        faults = {reason: number for reason, number in self.left_out.items() if reason != _LONG}
        if faults:
            told = ", ".join(f"{number} {reason}" for reason, number in faults.items())
            meter.flag(f"{name} left out for their data: {told}")


_EMPTY, _EQUAL, _LONG = "with an empty side", "with equal sides", "with a prompt that leaves no room for an answer"


def preference_pairs(
    data: Dataset, tokenizer: Any, length: int, split: str, half: str = "all", limit: int | None = None
) -> Pairs:
    """Pairs of one split in their order, at most ``limit``; ``DataError`` where none can be used.

    ``half`` (``first``, ``second``, ``all``) is by a hash of the prompt, so that what is trained on one half and what
    is trained on the other have no prompt in common.
    """
    items = [(place, item) for place, item in enumerate(data.view("pairs", split)) if in_half(item, half)]
    check_no_leak(data)
    left: Counter[str] = Counter()
    found: list[Pair] = []
    for place, item in items:
        pair = _pair(place, item, tokenizer, length)
        if isinstance(pair, str):
            left[pair] += 1
        else:
            found.append(pair)
        if len(found) == limit:
            break
    if not found:
        why = ", ".join(f"{number} {reason}" for reason, number in left.items()) or f"none is in the {half} half"
        raise DataError(f"no pair of '{data.name}' ({split}) can be used at {length} tokens: {why}")
    return Pairs(found, dict(left))


def check_no_leak(data: Dataset) -> None:
    """``DataError`` where a prompt of the pairs stands in training and in held-out data."""
    seen = {_key(item["prompt"]) for item in data.view("pairs", "train")}
    for split in ("validation", "test"):
        try:
            both = sum(_key(item["prompt"]) in seen for item in data.view("pairs", split))
        except DataError:  # a data set need not have every split
            continue
        if both:
            raise DataError(f"{both} prompts of '{data.name}' stand in train and in {split}: take them out of one")


def prompts_that_fit(
    data: Dataset, tokenizer: Any, room: int, split: str, half: str = "all", limit: int | None = None
) -> tuple[list[tuple[int, list[int]]], int]:
    """Places and token ids of the distinct prompts of pairs with at most ``room`` tokens, and how many have more."""
    found: list[tuple[int, list[int]]] = []
    seen: set[str] = set()
    long = 0
    for place, item in enumerate(data.view("pairs", split)):
        key = _key(item["prompt"])
        if key in seen or not in_half(item, half):
            continue
        seen.add(key)
        ids = prompt_ids(item["prompt"], tokenizer)
        if 0 < len(ids) <= room:
            found.append((place, ids))
        else:
            long += 1
        if len(found) == limit:
            break
    if not found:
        raise DataError(f"no prompt of '{data.name}' ({split}) has at most {room} tokens: {long} have more")
    return found, long


def answer_log_probabilities(model: Any, pairs: Sequence[Pair], precision: str) -> list[tuple[float, float]]:
    """For each pair the log-probabilities of its two answers behind the prompt, summed over their tokens (nats)."""
    sequences = [pair.prompt + side for pair in pairs for side in (pair.chosen, pair.rejected)]
    training = model.training
    scores = iter(target_log_probabilities(model.eval(), sequences, precision))
    model.train(training)
    return [
        (float(next(scores)[len(pair.prompt) - 1 :].sum(dtype="float64")),
         float(next(scores)[len(pair.prompt) - 1 :].sum(dtype="float64")))
        for pair in pairs
    ]  # fmt: skip


def half_for_ties(margin: float) -> float:
    """1 for a positive margin, 0 for a negative one, one half for none."""
    return 0.5 if margin == 0 else float(margin > 0)


def accuracy(margins: Sequence[float]) -> float:
    """Share of positive margins, ties counted one half."""
    return math.fsum(map(half_for_ties, margins)) / len(margins)


def in_half(item: Mapping[str, Any], half: str) -> bool:
    """Whether a pair belongs to a half (of ``HALVES``) of the data, by its prompt."""
    if half == "all":
        return True
    return HALVES[order_of(f"half:{_key(item['prompt'])}") % 2] == half


def _key(prompt: Prompt) -> str:
    return prompt if isinstance(prompt, str) else repr(list(prompt))


def _pair(place: int, item: Mapping[str, Any], tokenizer: Any, length: int) -> Pair | str:
    """The pair, or why there is none."""
    if not all(str(item[side]).strip() for side in ("chosen", "rejected")) or not item["prompt"]:
        return _EMPTY
    prompt = prompt_ids(item["prompt"], tokenizer)
    sides = [answer_ids(item["prompt"], item[side], tokenizer) for side in ("chosen", "rejected")]
    if sides[0] == sides[1]:
        return _EQUAL
    room = length - len(prompt)
    if room < SHORTEST or not prompt:
        return _LONG
    chosen, rejected = (ids[:room] for ids in sides)
    return _EQUAL if chosen == rejected else Pair(prompt, chosen, rejected, place)
