"""``tokenization_speed``: encode and decode rates over the length of documents, threads and batch.

The clock covers the library's own calls, lists of ids in and out included. Every round has text of its own, so that no
cache holds an answer that a user's first pass would not find; a round before the first is not counted.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from harness.contract import Codec, Job, Task, param
from harness.errors import DataError

MEGABYTE = 1e6


class TokenizationSpeed(Task):
    """Encode and decode megabytes (10^6 UTF-8 bytes) per second."""

    summary = "encode and decode MB/s by document length, threads and batch"
    requires = ("tokenizers",)
    kinds = frozenset({"none", "blank", "tokenizer", "causal", "masked", "seq2seq", "classifier"})
    needs = frozenset({"tokenizer"})
    needs_trained_weights = False
    metrics = ("encode_megabytes_per_second", "decode_megabytes_per_second")

    @dataclass(frozen=True)
    class Params:
        length: str = param("paragraph", "documents: at most 280 characters, paragraphs or whole files",
                            choices=("tweet", "paragraph", "file"))  # fmt: skip
        threads: int = param(1, "threads that a batch may use", low=1)
        batch: int = param(1, "documents per call; 1 calls for each by itself", low=1)
        rounds: int = param(5, "counted rounds, after one that is not", low=2)
        round_bytes: int = param(300_000, "text of one round, at most", low=1000)

    def view(self) -> str | None:
        """Plain text."""
        return "text"

    def score(self, scorer: Any, job: Job) -> None:
        """Encode and decode each round's text and hand every sample over."""
        from harness.data.lengths import helpings, of_length

        params = self.params
        codec: Codec = getattr(scorer, "codec", scorer)
        with job.meter.span("data"):
            documents = list(of_length(job.data.view("text", "test"), params.length))
            rounds = helpings(documents, params.rounds + 1, params.round_bytes)
        if not all(rounds):
            raise DataError(
                f"the test text of '{job.data.name}' has {len(documents)} documents of length {params.length}: "
                f"too few for {params.rounds + 1} rounds of different text"
            )
        codec.use_threads(params.threads)
        encoding: list[float] = []
        decoding: list[float] = []
        for number, texts in enumerate(rounds):
            with job.meter.span("rounds" if number else "warm_up"):
                encode_rate, decode_rate = _rates(codec, texts, params.batch)
            encoding.append(encode_rate)
            decoding.append(decode_rate)
            job.meter.progress()
        for name, values in (("encode", encoding[1:]), ("decode", decoding[1:])):
            job.meter.sample(f"{name}_megabytes_per_second", values)
            job.meter.metric(f"{name}_megabytes_per_second", statistics.median(values))
        mean = sum(map(len, documents)) / len(documents)
        job.meter.observe("documents", {"count": sum(map(len, rounds[1:])), "mean_characters": round(mean, 1)})


def _rates(codec: Codec, texts: Sequence[str], batch: int) -> tuple[float, float]:
    size = sum(len(text.encode()) for text in texts) / MEGABYTE
    ids, encoding = _timed(texts, batch, codec.encode, codec.encode_batch)
    _, decoding = _timed(ids, batch, codec.decode, codec.decode_batch)
    return size / encoding, size / decoding


def _timed(
    items: Sequence[Any], batch: int, one: Callable[[Any], Any], many: Callable[[Any], list[Any]]
) -> tuple[list[Any], float]:
    """Results for all items and the seconds that they took, one call per item or per batch."""
    start = perf_counter()
    if batch == 1:
        found = [one(item) for item in items]
    else:
        found = [result for at in range(0, len(items), batch) for result in many(items[at : at + batch])]
    return found, perf_counter() - start
