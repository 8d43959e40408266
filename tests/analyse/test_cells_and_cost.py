"""Which steps make a cell, what it costs, where its time went, how small it got, and the Pareto set."""

from __future__ import annotations

from types import ModuleType

import pandas
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.analyse.cells import deciding, members, prefixes
from harness.analyse.cost import making_cost, memory_ledger, time_ledger
from harness.analyse.pareto import pareto_set
from harness.analyse.size import shrinkage
from harness.results.rows import frame_of


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("base", ["base"]),
        ("a > b + m > c", ["a", "a > b + m", "a > b + m > c"]),
        ("distil(teacher=sft > dpo) > int8", ["distil(teacher=sft > dpo)", "distil(teacher=sft > dpo) > int8"]),
    ],
)
def test_prefixes_split_chains_but_not_parameters(method: str, expected: list[str]) -> None:
    assert prefixes(method) == expected


def test_cost_without_a_plan_is_the_cost_with_one(synthetic: ModuleType) -> None:
    frame = frame_of(synthetic.records(("base", "lora", "int8", "lora > int8")))
    plan = synthetic.plan(("base", "lora", "int8", "lora > int8"))
    names = ["method", "precision", "seed", "seconds", "steps"]
    planned, found = (making_cost(frame, members(frame, given))[names] for given in (plan, None))
    merged = planned.merge(found, on=names, how="outer", indicator=True)
    assert set(merged.loc[merged["_merge"] != "both", "method"]) <= {"int4(format=fp4)", "gptq"}
    assert (merged["_merge"] == "both").sum() >= 7


def test_cost_of_a_chain_is_the_sum_of_its_stages(synthetic: ModuleType) -> None:
    train = synthetic.record("train", "lora", seed=0, wall_seconds=10.0, metrics={"peak_memory_bytes": 5.0})
    compress = synthetic.record("compress", "lora > int8", seed=0, wall_seconds=2.0, metrics={"peak_memory_bytes": 7.0})
    other = synthetic.record("train", "lora", seed=1, wall_seconds=99.0)
    score = synthetic.record("eval", "lora > int8", seed=0, task="choice", wall_seconds=50.0)
    frame = frame_of([train, compress, other, score])
    cost = making_cost(frame, members(frame))
    assert cost["seconds"].tolist() == [12.0] and cost["peak_memory_bytes"].tolist() == [7.0]
    assert cost["steps"].tolist() == [2]


def test_a_step_without_its_time_makes_the_cost_missing_not_smaller(synthetic: ModuleType) -> None:
    train = synthetic.record("train", "lora", wall_seconds=10.0)
    skipped = synthetic.record("compress", "lora > int8", status="skipped", reason="no", wall_seconds=0.0)
    score = synthetic.record("eval", "lora > int8", task="choice")
    frame = frame_of([train, skipped, score])
    assert making_cost(frame, members(frame))["seconds"].isna().all()


def test_spans_of_a_step_sum_to_its_wall_time(synthetic: ModuleType) -> None:
    records = synthetic.records(("lora",))
    ledger = time_ledger(frame_of(records)).groupby("step")["seconds"].sum()
    for one in records:
        if one["spans"]:
            assert ledger[one["step"]] == pytest.approx(one["wall_seconds"])
    memory = memory_ledger(frame_of(records))
    assert memory["peak_memory_bytes"].max() == 640 * 2**20


def test_a_done_attempt_beats_a_later_failure(synthetic: ModuleType) -> None:
    done = synthetic.record("eval", "base", task="choice", attempt=1)
    failed = synthetic.record("eval", "base", task="choice", attempt=2, status="timeout", reason="x")
    assert set(deciding(frame_of([done, failed]))["record"]) == {done["record"]}


@pytest.mark.parametrize(
    ("size", "parameters", "technique", "words"),
    [
        (1408, 1000, "int8", "1.42x smaller (not 2x)"),
        (1000, 1000, "int8", "2.00x smaller"),
        (900, 1000, "int4", "2.22x smaller (not 4x)"),
        (900, 1000, "qlora", "2.22x smaller"),
        (4000, 1000, "full_finetune", "2.00x larger"),
        (2000, 1000, "base", "the same size"),
    ],
)
def test_size_against_the_16_bit_base(size: int, parameters: int, technique: str, words: str) -> None:
    found = shrinkage(size, parameters, technique)
    assert found is not None and found.in_words() == words


@pytest.mark.parametrize(("size", "parameters"), [(None, 10), (10, None), (float("nan"), 10)])
def test_size_without_numbers_is_missing(size: float | None, parameters: float | None) -> None:
    assert shrinkage(size, parameters, "int8") is None


def test_pareto_set_minds_the_direction_of_each_metric() -> None:
    points = pandas.DataFrame(
        {"loss": [1.0, 2.0, 3.0, 3.0, None], "decode_tokens_per_second": [10.0, 30.0, 20.0, 40.0, 99.0]}
    )
    assert pareto_set(points, "loss", "decode_tokens_per_second").tolist() == [True, True, False, True, False]


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=20))
def test_everything_outside_the_pareto_set_is_beaten_by_a_member(values: list[tuple[int, int]]) -> None:
    points = pandas.DataFrame(values, columns=["loss", "peak_memory_bytes"])
    mask = pareto_set(points, "loss", "peak_memory_bytes")
    assert mask.any()
    best = [tuple(row) for row in points[mask].to_numpy()]
    for x, y in points[~mask].to_numpy():
        assert any(a <= x and b <= y and (a, b) != (x, y) for a, b in best)


def test_pareto_of_a_fact_without_a_better_side_is_refused() -> None:
    with pytest.raises(ValueError, match="no better side"):
        pareto_set(pandas.DataFrame({"loss": [1.0], "parameters": [1.0]}), "loss", "parameters")
