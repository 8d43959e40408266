"""``generation_speed``: a controlled clock in, times and rates by hand out."""

from __future__ import annotations

import pytest

from harness.errors import InvalidMeasurement, StepError
from harness.tasks import generation_speed
from harness.tasks.generation_speed import GenerationSpeed

pytestmark = pytest.mark.quiet

PARAMS = {"batch": 2, "prompt_tokens": 10, "new_tokens": 4, "repeats": 3}


class Clock:
    """Reads what the scorer has added."""

    now = 100.0

    def __call__(self):
        return self.now


class SlowScorer:
    """Each token takes as long as the test says: ``times[call][token]`` seconds."""

    vocabulary_size = 50
    max_length = 64

    def __init__(self, clock, times):
        self.clock, self.times, self.calls = clock, times, []

    def generate(self, prompts, new_tokens, on_tokens):
        call = len(self.calls)
        self.calls.append((prompts, new_tokens))
        for seconds in self.times[call]:
            self.clock.now += seconds
            on_tokens([1] * len(prompts))


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(generation_speed, "perf_counter", clock)
    return clock


WARM_UP = [9.0, 9.0, 9.0, 9.0]
COUNTED = [[1.0, 0.5, 0.5, 0.5], [2.0, 0.25, 0.25, 0.5], [4.0, 1.0, 1.0, 1.0]]


def test_times_and_rates_by_hand(score, clock):
    scorer = SlowScorer(clock, [WARM_UP, *COUNTED])
    meter = score(GenerationSpeed, scorer, params=PARAMS)
    assert meter.samples["time_to_first_token_seconds"] == [1.0, 2.0, 4.0]
    assert meter.samples["inter_token_latency_seconds"] == [0.5, 0.5, 0.5, 0.25, 0.25, 0.5, 1.0, 1.0, 1.0]
    assert meter.samples["prefill_tokens_per_second"] == [20.0, 10.0, 5.0]
    assert meter.samples["decode_tokens_per_second"] == [4.0, 6.0, 2.0]
    assert meter.metrics == {
        "time_to_first_token_seconds": 2.0, "inter_token_latency_seconds": 0.5,
        "prefill_tokens_per_second": 10.0, "decode_tokens_per_second": 4.0,
    }  # fmt: skip


def test_rate_times_seconds_is_the_amount(score, clock):
    meter = score(GenerationSpeed, SlowScorer(clock, [WARM_UP, *COUNTED]), params=PARAMS)
    for rate, times in zip(meter.samples["decode_tokens_per_second"], COUNTED, strict=True):
        assert rate * sum(times[1:]) == pytest.approx(2 * 3)
    for rate, seconds in zip(
        meter.samples["prefill_tokens_per_second"], meter.samples["time_to_first_token_seconds"], strict=True
    ):
        assert rate * seconds == pytest.approx(2 * 10)


def test_the_warm_up_is_a_span_of_its_own_and_not_counted(score, clock):
    scorer = SlowScorer(clock, [WARM_UP, *COUNTED])
    meter = score(GenerationSpeed, scorer, params=PARAMS)
    assert meter.spans == ["warm_up", "generate"]
    assert len(scorer.calls) == 4
    assert 9.0 not in meter.samples["time_to_first_token_seconds"]


def test_batch_and_lengths_are_the_ones_stated(score, clock):
    scorer = SlowScorer(clock, [WARM_UP, *COUNTED])
    score(GenerationSpeed, scorer, params=PARAMS)
    for prompts, new_tokens in scorer.calls:
        assert [len(prompt) for prompt in prompts] == [10, 10] and new_tokens == 4
        assert all(0 <= token < 50 for prompt in prompts for token in prompt)
        assert prompts[0] != prompts[1]
    assert all(call == scorer.calls[0] for call in scorer.calls), "the same prompts every time, for every method"


@pytest.mark.parametrize(("tokens", "said"), [(3, "got 3"), (5, "got 5"), (0, "got 0")])
def test_another_number_of_tokens_is_no_measurement(score, clock, tokens, said):
    scorer = SlowScorer(clock, [[1.0] * tokens])
    with pytest.raises(InvalidMeasurement, match=f"asked for 4 new tokens, {said}"):
        score(GenerationSpeed, scorer, params=PARAMS)


def test_more_than_the_context_holds_is_one_clear_line(score, clock):
    with pytest.raises(StepError, match="61 prompt and 4 new tokens do not fit the model's context of 64 tokens"):
        score(GenerationSpeed, SlowScorer(clock, []), params={**PARAMS, "prompt_tokens": 61})


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_a_real_model(score, open_it, request, name):
    scorer = open_it(request.getfixturevalue(name))
    meter = score(GenerationSpeed, scorer, params={**PARAMS, "prompt_tokens": 64, "new_tokens": 8})
    assert len(meter.samples["inter_token_latency_seconds"]) == 3 * 7
    assert all(value > 0 for values in meter.samples.values() for value in values)
    heads = {"llama": 2, "gpt2": 4}[name]
    assert meter.metrics["key_value_bytes"] == 2 * 2 * heads * 16 * 2 * (64 + 7) * 4
    assert meter.metrics["key_value_bytes_per_token"] == 2 * 2 * heads * 16 * 4
    assert meter.metrics["expected_key_value_bytes"] == meter.metrics["key_value_bytes"]


def test_a_quantised_model_with_adapters_generates(score, open_it, run, llama):
    meter = score(GenerationSpeed, open_it(run("qlora", llama, rank=2, job={"steps": 1}).checkpoint), params=PARAMS)
    assert meter.metrics["decode_tokens_per_second"] > 0
