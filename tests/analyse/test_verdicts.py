"""Verdicts on claims: known ratios, intervals that straddle, small scales, few pairs of times."""

from __future__ import annotations

import math

import pytest

from harness.analyse.patterns import matches, settings_of
from harness.analyse.statistics import Interval, ratio_of_means
from harness.analyse.verdicts import PAIRS, Judgement, all_of, judge
from harness.claims import Claim, Side


def claim(metric: str = "weight_bytes", **changed: object) -> Claim:
    return Claim(**{
        "id": "x", "technique": "int8", "statement": "s", "source": "s", "verified": True, "metric": metric,
        "of": Side("int8"), "over": Side("base"), **changed,
    })  # type: ignore[arg-type]  # fmt: skip


def ratio(low: float, high: float) -> Interval:
    return Interval((low + high) / 2, low, high, 10, "seeds")


@pytest.mark.parametrize(
    ("bound", "low", "high", "verdict"),
    [
        ({"at_most": 0.5}, 0.45, 0.49, "confirmed"),
        ({"at_most": 0.5}, 0.45, 0.55, "inconclusive"),
        ({"at_most": 0.5}, 0.6, 0.7, "direction only"),
        ({"at_most": 0.5}, 0.9, 1.1, "inconclusive"),
        ({"at_most": 0.5}, 1.1, 1.2, "contradicted"),
        ({"at_most": 1.0}, 0.8, 0.9, "confirmed"),
        ({"at_most": 1.0}, 0.9, 1.1, "inconclusive"),
        ({"at_most": 1.0}, 1.01, 1.1, "contradicted"),
        ({"at_least": 3.0}, 3.1, 4.0, "confirmed"),
        ({"at_least": 3.0}, 2.9, 3.1, "inconclusive"),
        ({"at_least": 3.0}, 1.2, 1.4, "direction only"),
        ({"at_least": 3.0}, 0.5, 0.9, "contradicted"),
        ({"at_least": 0.9}, 0.95, 1.3, "confirmed"),
        ({"at_least": 0.9}, 0.5, 0.6, "contradicted"),
        ({"at_least": 1.2, "at_most": 1.3}, 1.22, 1.28, "confirmed"),
        ({"at_least": 1.2, "at_most": 1.3}, 1.25, 1.35, "inconclusive"),
        ({"at_least": 1.2, "at_most": 1.3}, 1.8, 2.0, "direction only"),
        ({"at_least": 1.2, "at_most": 1.3}, 0.8, 0.9, "contradicted"),
        ({"at_least": 0.55, "at_most": 0.65}, 0.64, 0.645, "confirmed"),
        ({"at_least": 0.55, "at_most": 0.65}, 0.2, 0.3, "direction only"),
        ({"at_least": 0.55, "at_most": 0.65}, 1.1, 1.2, "contradicted"),
    ],
)
def test_known_ratios(bound: dict[str, float], low: float, high: float, verdict: str) -> None:
    assert judge(claim(**bound), ratio(low, high)).verdict == verdict


@pytest.mark.parametrize(
    ("metric", "bound", "low", "high", "verdict"),
    [
        ("perplexity", 1.01, 0.99, 1.005, "confirmed"), ("perplexity", 1.01, 1.0, 1.02, "inconclusive"),
        ("perplexity", 1.01, 1.02, 1.05, "contradicted"),
        ("masked_accuracy", 0.97, 0.98, 1.02, "confirmed"), ("masked_accuracy", 0.97, 0.5, 0.9, "contradicted"),
        ("masked_accuracy", 0.97, 0.95, 0.99, "inconclusive"),
    ],
)  # fmt: skip
def test_no_worse_looks_at_the_better_side_of_the_metric(
    metric: str, bound: float, low: float, high: float, verdict: str
) -> None:
    assert judge(claim(metric, no_worse_than=bound), ratio(low, high)).verdict == verdict


def test_nothing_is_contradicted_from_a_scale_that_a_claim_does_not_speak_of() -> None:
    large = claim(at_most=0.5, scale=1e9)
    small = judge(large, ratio(1.1, 1.2), parameters=3e6)
    assert small.verdict == "not testable here" and "1e+09 parameters" in small.why
    assert judge(large, ratio(0.3, 0.4), parameters=3e6).verdict == "direction only"
    assert judge(large, ratio(1.1, 1.2), parameters=7e9).verdict == "contradicted"


def test_nothing_is_contradicted_from_another_kind_of_machine() -> None:
    gpu = claim(at_most=0.5, device="cuda")
    assert judge(gpu, ratio(1.1, 1.2), device="cpu").verdict == "not testable here"
    assert judge(gpu, ratio(0.3, 0.4), device="cpu").why == "so it is here; the claim speaks of GPUs"
    assert judge(gpu, ratio(1.1, 1.2), device="cuda").verdict == "contradicted"


def test_a_share_beyond_its_bound_is_contradicted() -> None:
    share = claim("trainable_share", at_most=0.01, over=1.0)
    assert judge(share, ratio(0.5, 0.5), of_share=True).verdict == "contradicted"
    assert judge(share, ratio(0.005, 0.006), of_share=True).verdict == "confirmed"


def test_a_claim_about_several_methods_holds_of_all() -> None:
    yes, no, unclear = (Judgement(one) for one in ("confirmed", "contradicted", "inconclusive"))
    assert all_of([yes, yes]).verdict == "confirmed" and all_of([yes, no, unclear]).verdict == "contradicted"
    assert all_of([yes, unclear]).verdict == "inconclusive"


def test_times_take_ten_pairs_and_every_verdict_an_interval() -> None:
    fast = claim("step_seconds", at_most=0.5)
    few = judge(fast, ratio(0.3, 0.4), pairs=PAIRS - 1)
    assert few.verdict == "inconclusive" and few.why == "9 interleaved pairs of runs, a verdict on time takes 10"
    assert judge(fast, ratio(0.3, 0.4), pairs=PAIRS).verdict == "confirmed"
    assert judge(fast, Interval(0.3, None, None, 1, "seeds"), pairs=1).verdict == "inconclusive"
    untestable = Claim("x", "t", "s", "s", True, needs="eight GPUs")
    assert judge(untestable, ratio(1.0, 1.0)).why == "eight GPUs"


def test_patterns_know_what_is_a_setting() -> None:
    assert matches("lora", "lora(learning_rate=0.01)") and not matches("lora", "lora(rank=16)")
    assert matches("lora(rank=16)", "lora(learning_rate=0.01, rank=16)")
    assert not matches("lora", "lora > int8") and not matches("bpe > clm", "bpe > clm + zero")
    assert matches("bpe > clm + zero(stage=1)", "bpe > clm(optimizer=adamw) + zero(stage=1)")
    assert matches("gptq(group_size=64)", "gptq(calibration_windows=32, group_size=64)")
    assert not matches("gptq(group_size=64)", "gptq(group_size=64, symmetric=false)")
    assert settings_of("bpe > clm(sequence_length=512)") != settings_of("bpe > clm(sequence_length=256)")
    assert settings_of("lora(learning_rate=0.1)") == settings_of("full_finetune(learning_rate=0.001)")


def test_a_ratio_of_means_by_hand() -> None:
    found = ratio_of_means(([2.0, 4.0], [1.0, 1.0]), ([1.0, 2.0], [1.0, 1.0]))
    assert found is not None and (found.estimate, found.low, found.high) == (2.0, 2.0, 2.0)
    weighted = ratio_of_means(([2.0, 9.0], [1.0, 3.0]), ([1.0, 1.0], [1.0, 1.0]))
    assert weighted is not None and math.isclose(weighted.estimate, 11 / 4)
    assert ratio_of_means(([1.0], [1.0]), ([0.0], [1.0])) is None
