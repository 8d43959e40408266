"""``tokenization``: how a tokenizer cuts text up, what it cannot write, and whether the text comes back.

Everything is counted on paragraphs of held-out text; the hostile texts of ``harness.data.hostile`` are counted apart.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.contract import Codec, Job, Task, param
from harness.errors import DataError, StepError

EXACT, CHANGED, REFUSED = "exact", "changed", "refused"
SHOWN = 60


class Tokenization(Task):
    """Bytes per token, fertility, unknown and byte tokens, use of the vocabulary, exact round trips."""

    summary = "bytes per token, fertility, unknown tokens, vocabulary use, exact round trips"
    requires = ("tokenizers",)
    kinds = frozenset({"none", "blank", "tokenizer", "causal", "masked", "seq2seq", "classifier"})
    needs = frozenset({"tokenizer"})
    needs_trained_weights = False
    metrics = (
        "bytes_per_token", "fertility", "unknown_share", "byte_token_share", "vocabulary_use", "round_trip_share",
        "hostile_round_trip_share",
    )  # fmt: skip

    @dataclass(frozen=True)
    class Params:
        split: str = param("test", "split that is tokenised", choices=("validation", "test"))

    def view(self) -> str | None:
        """Plain text."""
        return "text"

    def score(self, scorer: Any, job: Job) -> None:
        """Encode and decode every paragraph and every hostile text, and count."""
        from harness.data.hostile import HOSTILE
        from harness.data.lengths import of_length

        codec: Codec = getattr(scorer, "codec", scorer)
        with job.meter.span("data"):
            texts = list(of_length(job.data.view("text", self.params.split), "paragraph"))
            words = [len(text.split()) for text in texts]
        if not texts:
            raise DataError(f"the {self.params.split} text of '{job.data.name}' is white space alone")
        codec.use_threads(job.hardware.threads or 1)
        encoded = codec.encode_batch(texts)
        exact = [decoded == text for decoded, text in zip(codec.decode_batch(encoded), texts, strict=True)]
        used = Counter(token for ids in encoded for token in ids)
        total = sum(used.values())
        if not total:
            raise StepError("the tokenizer gave no token for any text")
        sizes = [len(text.encode()) for text in texts]
        metric = job.meter.metric
        metric("vocabulary_size", codec.vocabulary_size)
        metric("bytes_per_token", sum(sizes) / total)
        metric("fertility", total / sum(words))
        metric("unknown_share", used[codec.unknown_id] / total if codec.unknown_id is not None else 0.0)
        metric("byte_token_share", sum(count for token, count in used.items() if _is_part(codec, token)) / total)
        metric("vocabulary_use", len(used) / codec.vocabulary_size)
        metric("round_trip_share", sum(exact) / len(exact))
        job.meter.items(
            "tokenization",
            {"item": list(range(len(texts))), "tokens": [len(ids) for ids in encoded], "bytes": sizes, "words": words,
             "exact": [int(value) for value in exact]},
        )  # fmt: skip
        outcomes = {name: [_round_trip(codec, text) for text in cases] for name, cases in HOSTILE.items()}
        flat = [outcome for found in outcomes.values() for outcome, _ in found]
        metric("hostile_round_trip_share", flat.count(EXACT) / len(flat))
        job.meter.observe("hostile", {name: _told(HOSTILE[name], found) for name, found in outcomes.items()})


def _is_part(codec: Codec, token: int) -> bool:
    """Whether a token stands for a byte and not for characters: not UTF-8 by itself, or a piece of byte fallback."""
    piece = codec.piece(token)
    if piece is None:
        return False
    try:
        piece.decode()
    except UnicodeDecodeError:
        return True
    return token in codec.byte_ids


def _round_trip(codec: Codec, text: str) -> tuple[str, str]:
    """How one text comes back, and what came back; a text that the library will not take is ``refused``."""
    try:
        found = codec.decode(codec.encode(text))
    except (UnicodeError, TypeError, ValueError) as error:
        return REFUSED, type(error).__name__
    return (EXACT if found == text else CHANGED), found


def _told(cases: Sequence[str], found: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Counts by outcome and every text that was not given back, both sides escaped and cut to a line."""
    counts = Counter(outcome for outcome, _ in found)
    lost = [
        {"text": _cut(text), "outcome": outcome, "back": _cut(back)}
        for text, (outcome, back) in zip(cases, found, strict=True) if outcome != EXACT
    ]  # fmt: skip
    return {EXACT: counts[EXACT], CHANGED: counts[CHANGED], REFUSED: counts[REFUSED], "lost": lost}


def _cut(text: str) -> str:
    shown = ascii(text[:SHOWN])
    return shown if len(text) <= SHOWN else f"{shown}... ({len(text)} characters)"
