"""``generation_speed``: greedy generation timed at every token, at a stated batch and stated lengths.

The clock starts at the call of generate and is read when each column of new tokens comes out, so prefill and decode
are both timed directly and never obtained by subtracting one run from another. The key-value cache is looked at when
the last generation is over.
"""

from __future__ import annotations

import itertools
import statistics
from dataclasses import dataclass
from time import perf_counter

from harness.contract import Job, KeyValues, Scorer, Task, param
from harness.errors import InvalidMeasurement, StepError


class GenerationSpeed(Task):
    """Time to first token, inter-token latency, prefill and decode tokens per second."""

    summary = "time to first token, latency, prefill and decode speed, bytes of the key-value cache"
    requires = ("torch", "transformers")
    needs = frozenset({"model"})
    needs_trained_weights = False
    metrics = (
        "time_to_first_token_seconds", "inter_token_latency_seconds",
        "prefill_tokens_per_second", "decode_tokens_per_second",
        "key_value_bytes", "key_value_bytes_per_token", "expected_key_value_bytes",
    )  # fmt: skip

    @dataclass(frozen=True)
    class Params:
        batch: int = param(1, "prompts generated for at once", low=1)
        prompt_tokens: int = param(128, "tokens of each prompt", low=1)
        new_tokens: int = param(48, "new tokens per prompt", low=2)
        repeats: int = param(5, "counted repeats, after one that is not", low=1)

    def score(self, scorer: Scorer, job: Job) -> None:
        """Generate repeatedly and hand over every sample."""
        params = self.params
        if params.prompt_tokens + params.new_tokens > scorer.max_length:
            asked = f"{params.prompt_tokens} prompt and {params.new_tokens} new tokens"
            raise StepError(f"{asked} do not fit the model's context of {scorer.max_length} tokens")
        prompts = _prompts(scorer, params.batch, params.prompt_tokens)
        with job.meter.span("warm_up"):
            _timed(scorer, prompts, params.new_tokens)
        first: list[float] = []
        between: list[float] = []
        rates: list[float] = []
        with job.meter.span("generate"):
            for _ in range(params.repeats):
                moments = _timed(scorer, prompts, params.new_tokens)
                first.append(moments[0])
                between += [after - before for before, after in itertools.pairwise(moments)]
                rates.append(params.batch * (params.new_tokens - 1) / (moments[-1] - moments[0]))
                job.meter.progress()
        prefill = [params.batch * params.prompt_tokens / seconds for seconds in first]
        for name, values in (
            ("time_to_first_token_seconds", first),
            ("inter_token_latency_seconds", between),
            ("prefill_tokens_per_second", prefill),
            ("decode_tokens_per_second", rates),
        ):
            job.meter.sample(name, values)
            job.meter.metric(name, statistics.median(values))
        _tell_kept(getattr(scorer, "key_values", None), job)


def _tell_kept(kept: KeyValues | None, job: Job) -> None:
    """Record what the last generation kept of the tokens that it read, where the runtime says."""
    if kept is None:
        return
    job.meter.metric("key_value_bytes", kept.held_bytes)
    job.meter.metric("key_value_bytes_per_token", kept.held_bytes / kept.positions)
    if kept.expected_bytes is not None:
        job.meter.metric("expected_key_value_bytes", kept.expected_bytes)


def _prompts(scorer: Scorer, batch: int, length: int) -> list[list[int]]:
    """The same token ids for every method: spread over the vocabulary by a fixed stride."""
    stride = 7919
    return [[(row + column * stride) % scorer.vocabulary_size for column in range(length)] for row in range(batch)]


def _timed(scorer: Scorer, prompts: list[list[int]], new_tokens: int) -> list[float]:
    """Seconds from the call to each of the new tokens."""
    moments: list[float] = []
    start = perf_counter()
    scorer.generate(prompts, new_tokens, lambda tokens: moments.append(perf_counter() - start))
    if len(moments) != new_tokens:
        raise InvalidMeasurement(f"asked for {new_tokens} new tokens, got {len(moments)}")
    return moments
