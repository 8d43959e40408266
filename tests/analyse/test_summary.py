"""The summary: baseline, paired differences, ties, and what must never be compared."""

from __future__ import annotations

import math
from types import ModuleType
from typing import Any

import pandas
import pytest

from harness.analyse.item_scores import ItemScores
from harness.analyse.paired import RECIPES, difference
from harness.analyse.summary import spread_of_seeds, summarize, within_spread
from harness.results.items import items_of
from harness.results.rows import frame_of


def table(records: list[dict[str, Any]], plan: dict[str, Any] | None = None, **options: Any) -> pandas.DataFrame:
    return summarize(frame_of(records), items_of(records), plan, **options)


def line(found: pandas.DataFrame, method: str, metric: str, task: str = "perplexity", precision: str = "fp32") -> Any:
    names = {"method": method, "metric": metric, "task": task, "precision": precision}
    mask = pandas.Series(True, index=found.index)
    for name, value in names.items():
        mask &= found[name] == value
    assert mask.sum() == 1, names
    return found[mask].iloc[0]


@pytest.fixture(scope="module")
def whole(synthetic: ModuleType) -> pandas.DataFrame:
    return table(synthetic.records(), synthetic.plan())


def scored(synthetic: ModuleType, method: str, right: list[int], **changes: Any) -> dict[str, Any]:
    items = {"choice": {"item": list(range(len(right))), "correct": right}}
    metrics = {"choice_accuracy": sum(right) / len(right)}
    return synthetic.record("eval", method, task="choice", metrics=metrics, items=items, **changes)


def test_mean_and_interval_over_seeds(synthetic: ModuleType) -> None:
    records = [
        synthetic.record("eval", "lora", task="perplexity", seed=seed, metrics={"loss": loss})
        for seed, loss in ((0, 2.0), (1, 2.2), (2, 2.4))
    ]
    found = line(table(records), "lora", "loss")
    assert found["value"] == pytest.approx(2.2) and found["seeds"] == 3 and found["interval"] == "seeds"
    assert found["low"] == pytest.approx(2.2 - 4.3027 * 0.2 / 3**0.5, abs=1e-4)


def test_a_single_seed_has_the_interval_over_its_items(whole: pandas.DataFrame) -> None:
    found = line(whole, "base", "loss")
    assert found["interval"] == "items" and found["low"] < found["value"] < found["high"]
    assert line(whole, "base", "decode_tokens_per_second", "generation_speed")["interval"] == "repeats"


def test_items_reproduce_the_recorded_metric(synthetic: ModuleType) -> None:
    records = [one for one in synthetic.records(("int8",)) if one["status"] == "done" and one["items"]]
    scores = ItemScores(items_of(records))
    checked = 0
    for one in records:
        for metric in set(RECIPES) & set(one["metrics"]):
            found = scores.interval(metric, (one["step"],))
            assert found is not None and found.estimate == pytest.approx(one["metrics"][metric], rel=1e-9)
            checked += 1
    assert checked >= 10


def test_differences_are_paired_and_at_the_same_precision(whole: pandas.DataFrame) -> None:
    int4, base = line(whole, "int4", "loss"), line(whole, "base", "loss")
    assert int4["difference"] == pytest.approx(int4["value"] - base["value"])
    assert 0 < int4["difference_low"] < int4["difference"] < int4["difference_high"]
    # unpaired, the two intervals overlap and nothing could be said
    assert int4["low"] < base["high"]
    half = line(whole, "int4", "loss", precision="bf16-mixed")
    assert half["difference"] == pytest.approx(
        half["value"] - line(whole, "base", "loss", precision="bf16-mixed")["value"]
    )


def test_the_baseline_has_no_difference_from_itself(whole: pandas.DataFrame) -> None:
    assert pandas.isna(line(whole, "base", "loss")["difference"])


def test_near_lossless_is_ordered_by_divergence_with_intervals_apart(whole: pandas.DataFrame) -> None:
    int8, int4 = (line(whole, method, "kl_divergence") for method in ("int8", "int4"))
    assert int8["high"] < int4["low"]
    assert line(whole, "int8", "loss")["tied"] and not line(whole, "int4", "loss")["tied"]


def test_tied_is_paired(synthetic: ModuleType) -> None:
    best = [1] * 60 + [0] * 40
    near = [*best[:59], 0, 1, *best[61:]]
    far = [0] * 30 + best[30:]
    found = table([scored(synthetic, name, right) for name, right in (("a", best), ("b", near), ("c", far))])
    assert line(found, "a", "choice_accuracy", "choice")["best"]
    assert line(found, "b", "choice_accuracy", "choice")["tied"]
    assert not line(found, "c", "choice_accuracy", "choice")["tied"]


def windows(synthetic: ModuleType, method: str, bits: list[float], sizes: list[int], documents: list[int]) -> dict:
    """A record of perplexity whose windows hold ``sizes`` bytes at ``bits`` per byte."""
    nll = [value * size * math.log(2) for value, size in zip(bits, sizes, strict=True)]
    items = {"window": list(range(len(sizes))), "document": documents, "nll": nll, "tokens": sizes, "bytes": sizes}
    metrics = {"bits_per_byte": sum(nll) / math.log(2) / sum(sizes), "loss": sum(nll) / sum(sizes)}
    return synthetic.record("eval", method, task="perplexity", metrics=metrics, items={"perplexity": items})


def test_windows_of_two_tokenizers_are_compared_by_document(synthetic: ModuleType) -> None:
    """Documents differ widely, and each is a little harder for ``b``: unpaired nobody could tell."""
    hard = [1.0 + number / 10 for number in range(20)]
    twice = [(value, place) for place, value in enumerate(hard) for _ in "xy"]
    one = windows(synthetic, "a", [value for value, _ in twice], [100] * 40, [place for _, place in twice])
    other = windows(synthetic, "b", [value + 0.02 for value in hard], [190] * 20, list(range(20)))
    found = table([one, other])
    best, second = (line(found, name, "bits_per_byte") for name in "ab")
    assert best["best"] and not second["tied"]
    assert best["low"] < second["value"] < best["high"], "the intervals alone overlap"


def test_losses_per_token_of_two_tokenizers_are_never_paired(synthetic: ModuleType) -> None:
    one = windows(synthetic, "a", [1.0] * 4, [100] * 4, [0, 1, 2, 3])
    other = windows(synthetic, "b", [1.1] * 4, [190] * 4, [0, 1, 2, 3])
    scores = ItemScores(items_of([one, other]))
    for metric, wanted in (("loss", None), ("bits_per_byte", -0.1)):
        first, second = (scores.scores(metric, [record["step"]]) for record in (one, other))
        found, _ = difference(metric, first, second)
        assert (found and found.estimate) == (wanted and pytest.approx(wanted))


def test_mcnemar_only_where_items_are_right_or_wrong(whole: pandas.DataFrame) -> None:
    assert 0 <= line(whole, "int4", "choice_accuracy", "choice")["p_value"] < 0.05
    assert pandas.isna(line(whole, "int4", "loss")["p_value"])


def test_without_items_or_seeds_only_equal_values_are_tied(synthetic: ModuleType) -> None:
    records = [
        synthetic.record("eval", name, task="perplexity", metrics={"loss": loss})
        for name, loss in (("a", 2.0), ("b", 2.0001), ("c", 2.0))
    ]
    found = table(records)
    assert [bool(line(found, name, "loss")["tied"]) for name in "abc"] == [True, False, True]


def speeds(synthetic: ModuleType, **methods: list[float]) -> list[dict[str, Any]]:
    return [
        synthetic.record("eval", name, task="generation_speed", seed=seed, metrics={"decode_tokens_per_second": value})
        for name, values in methods.items() for seed, value in enumerate(values)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("noise", "tied"),
    [
        ({}, [True, True, False, False]),  # 10 % where nothing was measured: 28 % between two single runs
        ({"decode_tokens_per_second": 0.01}, [True, False, False, False]),
        ({"decode_tokens_per_second": 0.3}, [True, True, True, False]),
        ({"wall_seconds": 0.3}, [True, True, True, False]),  # no such number was measured again: the largest of all
    ],
)
def test_times_of_single_runs_are_tied_within_the_noise_between_runs(
    synthetic: ModuleType, noise: dict[str, float], tied: list[bool]
) -> None:
    found = table(speeds(synthetic, a=[300.0], b=[240.0], c=[150.0], d=[100.0]), noise=noise)
    marks = [line(found, name, "decode_tokens_per_second", "generation_speed")["tied"] for name in "abcd"]
    assert [bool(mark) for mark in marks] == tied


def test_more_runs_tell_smaller_differences_of_times(synthetic: ModuleType) -> None:
    """From three on the runs' own pairs decide, in which that noise is."""
    fast, slow = [300.0, 330.0, 270.0, 310.0], [285.0, 312.0, 255.0, 296.0]
    for seeds, tied in ((4, False), (3, False), (2, True), (1, True)):
        found = table(speeds(synthetic, a=fast[:seeds], b=slow[:seeds]))
        assert bool(line(found, "b", "decode_tokens_per_second", "generation_speed")["tied"]) is tied, seeds


def trained(synthetic: ModuleType, **methods: list[float]) -> list[dict[str, Any]]:
    return [
        synthetic.record("eval", name, task="perplexity", seed=seed, metrics={"loss": value})
        for name, values in methods.items() for seed, value in enumerate(values)
    ]  # fmt: skip


def test_three_seeds_are_paired_and_two_must_lie_apart(synthetic: ModuleType) -> None:
    """What a seed does to both sides says nothing of their difference."""
    far, near = [2.00, 2.10, 2.20], [2.06, 2.161, 2.259]
    assert not line(table(trained(synthetic, a=far, b=near, c=[9.0] * 3)), "b", "loss")["tied"], "the ranges overlap"
    assert line(table(trained(synthetic, a=far, b=[2.26, 2.05, 2.15])), "b", "loss")["tied"]
    assert line(table(trained(synthetic, a=far[:2], b=near[:2])), "b", "loss")["tied"]


def test_few_seeds_give_no_interval_below_what_can_be(synthetic: ModuleType) -> None:
    found = table([*speeds(synthetic, a=[80.0, 160.0]), *(
        synthetic.record("eval", "a", task="preference", seed=seed, metrics={"preference_margin": value})
        for seed, value in enumerate((0.1, 0.9))
    )])  # fmt: skip
    speed = line(found, "a", "decode_tokens_per_second", "generation_speed")
    assert speed["low"] == 0.0 and speed["high"] > 160
    assert line(found, "a", "preference_margin", "preference")["low"] < 0, "a margin can be negative"


def test_few_seeds_give_no_share_above_the_whole(synthetic: ModuleType) -> None:
    found = table([
        synthetic.record("eval", "a", task="perplexity", seed=seed, metrics={"top1_agreement": value, "loss": value})
        for seed, value in enumerate((0.98, 0.992))
    ])  # fmt: skip
    assert line(found, "a", "top1_agreement")["high"] == 1.0
    assert line(found, "a", "loss")["high"] > 1.0


def test_other_models_and_hardware_are_not_compared(synthetic: ModuleType) -> None:
    records = [
        synthetic.record("eval", "base", task="perplexity", metrics={"loss": 2.0}),
        synthetic.record("eval", "lora", task="perplexity", metrics={"loss": 1.0}, model="another"),
        synthetic.record("eval", "lora", task="perplexity", metrics={"loss": 1.5}, hardware="cuda"),
    ]
    found = table(records, baseline="base")
    assert found.loc[found["metric"] == "loss", "difference"].isna().all()
    assert found.loc[found["metric"] == "loss", "tied"].isna().all()


def test_a_failed_seed_is_not_counted_as_zero(synthetic: ModuleType) -> None:
    done = synthetic.record("eval", "lora", task="perplexity", seed=0, metrics={"loss": 2.0})
    failed = done | synthetic.record("eval", "lora", task="perplexity", seed=1, metrics={"loss": 0.0}, status="failed")
    found = line(table([done, failed]), "lora", "loss")
    assert found["value"] == 2.0 and found["seeds"] == 1


def test_the_latest_done_attempt_decides(synthetic: ModuleType) -> None:
    records = [
        synthetic.record("eval", "base", task="perplexity", attempt=number, status=status, metrics=metrics)
        for number, status, metrics in (
            (2, "done", {"loss": 2.0}), (9, "done", {"loss": 3.0}), (10, "done", {"loss": 4.0}), (11, "failed", {}),
        )
    ]  # fmt: skip
    assert line(table(records), "base", "loss")["value"] == 4.0


def test_only_one_installation_is_used(synthetic: ModuleType) -> None:
    old = synthetic.record("eval", "base", task="perplexity", metrics={"loss": 9.0}, installation="old")
    new = synthetic.record("eval", "base", task="perplexity", metrics={"loss": 2.0}, installation="new")
    old["started"], new["started"] = "2026-01-01T00:00:00.000Z", "2026-02-01T00:00:00.000Z"
    assert line(table([old, new]), "base", "loss")["value"] == 2.0
    assert line(table([old, new], installation="old"), "base", "loss")["value"] == 9.0
    assert line(table([old, new], installation="unknown"), "base", "loss")["value"] == 2.0


def test_a_step_that_seeds_share_counts_once(synthetic: ModuleType) -> None:
    record = synthetic.record("eval", "base", task="perplexity", metrics={"loss": 2.0})
    axes = {name: record["coordinates"][name] for name in ("method", "model", "data", "precision", "hardware")}
    cells = [{"id": str(seed), **axes, "seed": seed, "steps": [record["step"]]} for seed in (0, 1)]
    assert line(table([record], {"cells": cells}), "base", "loss")["seeds"] == 1


def test_nothing_done_gives_an_empty_table(synthetic: ModuleType) -> None:
    assert table([synthetic.record("eval", "base", status="failed", reason="x")]).empty


def test_items_of_an_attempt_that_no_longer_decides_are_not_compared(synthetic: ModuleType) -> None:
    base = scored(synthetic, "base", [1, 1, 0, 0])
    records = [base, scored(synthetic, "int8", [0, 0, 0, 0]), scored(synthetic, "int8", [1, 1, 1, 0], attempt=2)]
    records.append(scored(synthetic, "int8", [0, 0, 0, 1], installation="000000000000"))
    whole = table(records, baseline="base", installation=base["environment"]["installation"])
    found = line(whole, "int8", "choice_accuracy", "choice")
    assert found["value"] == 0.75 and found["difference"] == pytest.approx(0.25)


def test_equal_values_are_tied_and_none_of_them_is_the_one_best(synthetic: ModuleType) -> None:
    """Also where the last bits of the arithmetic differ, and the items by as little."""
    found = table(trained(synthetic, a=[2.0], b=[2.0 + 1e-7], c=[2.1]))
    assert [bool(line(found, name, "loss")["tied"]) for name in "abc"] == [True, True, False]
    assert [bool(line(found, name, "loss")["equal"]) for name in "abc"] == [True, True, False]
    assert not line(table(trained(synthetic, a=[2.0], b=[2.1])), "a", "loss")["equal"]


def test_two_seeds_are_tied_by_the_spread_between_seeds_of_all_methods(synthetic: ModuleType) -> None:
    """By hand: each pair is 0.002 apart, so the deviation is 0.002 / sqrt(2) with 3 degrees of freedom.

    t is 3.182, and two means of two differ by up to 3.182 * 0.001414 = 0.0045.
    """
    seeds = {"a": [2.000, 2.002], "b": [2.005, 2.007], "c": [2.004, 2.006]}
    lines = [line(table(trained(synthetic, **seeds)), name, "loss").to_dict() for name in "abc"]
    spread = spread_of_seeds(lines)
    assert spread is not None and spread.deviation == pytest.approx(0.0014142, rel=1e-3) and spread.freedom == 3
    assert [within_spread(one, lines[0], spread) for one in lines] == [True, False, True]
    alone = line(table(trained(synthetic, b=[2.005])), "b", "loss").to_dict()
    assert within_spread(alone, lines[0], spread), "one training of it: 0.0055"
    assert not within_spread(lines[1], lines[0], None)


def test_a_clear_difference_by_items_is_tied_where_seeds_differ_as_much(synthetic: ModuleType) -> None:
    """Ranges apart and every window worse: of two seeds of each that is so once in three times by chance."""
    def of(method: str, seed: int, bits: float) -> dict[str, Any]:
        made = windows(synthetic, method, [bits + place / 10 for place in range(20)], [100] * 20, list(range(20)))
        step = f"{method}{seed}".ljust(16, "0")
        return made | {"coordinates": made["coordinates"] | {"seed": seed}, "step": step, "record": f"{step}.1"}

    near = {"a": (1.000, 1.010), "b": (1.011, 1.021)}
    far = near | {"b": (1.211, 1.221)}
    for values, tied in ((near, True), (far, False)):
        found = table([of(name, seed, bits) for name, both in values.items() for seed, bits in enumerate(both)])
        assert bool(line(found, "b", "bits_per_byte")["tied"]) is tied


def test_what_nothing_random_entered_has_no_spread_of_its_own(synthetic: ModuleType) -> None:
    fixed = [synthetic.record("eval", name, task="perplexity", metrics={"loss": value})
             for name, value in (("base", 2.0), ("int8", 2.0001))]  # fmt: skip
    found = table([*fixed, *trained(synthetic, a=[2.1, 2.2], b=[2.3, 2.1])])
    assert line(found, "base", "loss")["best"] and not line(found, "int8", "loss")["tied"]


def read(synthetic: ModuleType, method: str, tokens: int, loss: float) -> list[dict[str, Any]]:
    return [
        synthetic.record("train", method, seed=0, metrics={"train_tokens": tokens, "optimizer_steps": 9}),
        synthetic.record("eval", method, task="perplexity", seed=0,
                         metrics={"loss": loss, "peak_memory_rise_bytes": tokens}),
    ]  # fmt: skip


def test_other_lengths_of_sequences_that_read_more_are_not_compared(synthetic: ModuleType) -> None:
    def marks(*tokens: int) -> list[Any]:
        methods = [f"clm(sequence_length={length})" for length in (256, 512)]
        records = [one for method, many, loss in zip(methods, tokens, (2.0, 1.9), strict=True)
                   for one in read(synthetic, method, many, loss)]  # fmt: skip
        found = table(records)
        assert line(found, methods[0], "peak_memory_rise_bytes")["best"], "what a model takes in use is compared"
        return [line(found, method, "loss")["best"] for method in methods]

    assert marks(1000, 2000) == [None, None]
    assert marks(1000, 1001) != [False, True] and marks(1000, 1000) == [False, True]


def test_more_tokens_of_other_methods_are_compared(synthetic: ModuleType) -> None:
    found = table([*read(synthetic, "clm", 1000, 2.0), *read(synthetic, "lora", 2000, 1.9)])
    assert line(found, "lora", "loss")["best"]
