"""Verdicts of a gate over hand-made pairs, and the promises of its rule in simulation."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from harness.analyse.alarm import bar, verdict
from harness.analyse.case import exit_code
from harness.analyse.gate import Judgement, Pair, judge, lacking
from harness.analyse.history import cases_of
from harness.analyse.simulate_gate import NOISES, RULES, Row, alarm_rate, gate_rows, rows
from harness.results.nights import night_of

Make = Callable[..., list[Pair]]
NOISE = 0.02


@pytest.fixture
def pairs(synthetic: ModuleType) -> Make:
    """``count`` pairs of runs of a training; ``head`` changes its metrics, ``change`` the whole record."""

    def make(
        count: int = 10, head: dict[str, float] | None = None, change: dict[str, Any] | None = None,
        base: dict[str, Any] | None = None, first: int = 1, noise: float = NOISE, methods: tuple[str, ...] = ("lora",),
    ) -> list[Pair]:  # fmt: skip
        draw = random.Random(first)
        made = []
        for number in range(first, first + count):
            sides = [
                tuple(_record(synthetic, method, number, draw, noise, metrics or {}, more or {}) for method in methods)
                for metrics, more in (({}, base), (head, change))
            ]
            made.append(Pair(number, *sides))
        return made

    return make


def _record(
    synthetic: ModuleType, method: str, attempt: int, draw: random.Random, noise: float, metrics: dict[str, float],
    change: dict[str, Any],
) -> dict[str, Any]:  # fmt: skip
    level = {"wall_seconds": 10.0, "tokens_per_second": 1000.0, "peak_memory_bytes": 1e9, "parameters": 1e6,
             "perplexity": 8.0, "choice_accuracy": 0.5} | metrics  # fmt: skip
    timed = {name: level[name] * math.exp(draw.gauss(0, noise)) for name in ("wall_seconds", "tokens_per_second")}
    timed["peak_memory_bytes"] = level["peak_memory_bytes"] * math.exp(draw.gauss(0, 0.002))
    coordinates = change.get("coordinates", {})
    rest = {name: value for name, value in change.items() if name != "coordinates"}
    return synthetic.record("train", method, attempt=attempt, metrics=level | timed, **coordinates, **rest)


def statuses(judged: Judgement) -> dict[str, str]:
    return {case.metric: case.status for case in judged.cases}


def why(judged: Judgement, metric: str) -> str:
    return next(case.why for case in judged.cases if case.metric == metric)


def test_nothing_changed(pairs: Make) -> None:
    judged = judge(pairs())
    assert set(statuses(judged).values()) == {"pass"} and not judged.suspected
    told = why(judged, "wall_seconds")
    assert "no clear difference" in told and "an alarm would take more than " in told
    assert why(judged, "perplexity") == "the same in 10 runs of each side"
    assert exit_code(judged.cases) == 0


def test_a_slow_down_is_suspected_and_then_confirmed_by_new_pairs_alone(pairs: Make) -> None:
    slow = {"wall_seconds": 11.0, "tokens_per_second": 900.0}
    first = judge(pairs(head=slow))
    assert {case.metric for case in first.suspected} == set(slow)
    both = judge(pairs(head=slow), pairs(head=slow, first=11))
    found = {case.metric: case for case in both.cases}
    assert {name for name, case in found.items() if case.status == "regression"} == set(slow)
    wall = found["wall_seconds"]
    assert wall.change == pytest.approx(0.1, abs=0.02) and wall.low < 0.1 < wall.high
    assert found["tokens_per_second"].change == pytest.approx(-0.1, abs=0.02)
    assert exit_code(both.cases) == 1


def test_what_does_not_come_again_is_no_regression(pairs: Make) -> None:
    judged = judge(pairs(head={"wall_seconds": 11.0}), pairs(first=11))
    assert statuses(judged)["wall_seconds"] == "pass" and not judged.suspected
    assert "did not in 10 more" in why(judged, "wall_seconds")


def test_an_improvement_is_the_mirror_image(pairs: Make) -> None:
    judged = judge(pairs(head={"wall_seconds": 9.0, "tokens_per_second": 1111.0}))
    assert statuses(judged)["wall_seconds"] == statuses(judged)["tokens_per_second"] == "improvement"
    assert not judged.suspected and exit_code(judged.cases) == 0


def test_a_few_pairs_tell_nothing_of_times_but_all_of_facts(pairs: Make) -> None:
    judged = judge(pairs(3, head={"wall_seconds": 20.0, "parameters": 1e6 + 1}))
    found = statuses(judged)
    assert found["wall_seconds"] == found["peak_memory_bytes"] == "insufficient"
    assert found["parameters"] == "regression" and found["perplexity"] == "pass"
    assert exit_code(judge(pairs(3)).cases) == 0 and exit_code(judge(pairs(3)).cases, strict=True) == 4


def test_a_machine_that_is_too_noisy_says_so(pairs: Make) -> None:
    judged = judge(pairs(noise=0.2))
    assert statuses(judged)["wall_seconds"] == "insufficient" and "too noisy" in why(judged, "wall_seconds")
    assert statuses(judged)["peak_memory_bytes"] == "pass"


def test_quality_that_repeats_is_compared_exactly(pairs: Make) -> None:
    worse = judge(pairs(head={"perplexity": 8.1, "choice_accuracy": 0.49}))
    assert statuses(worse)["perplexity"] == statuses(worse)["choice_accuracy"] == "regression"
    better = judge(pairs(head={"perplexity": 7.9}))
    assert statuses(better)["perplexity"] == "improvement"
    little = judge(pairs(head={"perplexity": 8.01}))
    assert statuses(little)["perplexity"] == "pass" and "less than counts" in why(little, "perplexity")


def test_one_pair_cannot_know_that_quality_repeats(pairs: Make) -> None:
    assert statuses(judge(pairs(1, head={"perplexity": 9.0})))["perplexity"] == "insufficient"
    assert statuses(judge(pairs(1)))["perplexity"] == "pass"


def test_quality_that_varies_is_judged_as_times_are(pairs: Make) -> None:
    draw = random.Random(2)
    first, again = pairs(), pairs(first=11)
    for pair in (*first, *again):
        for record, level in zip((*pair.base, *pair.head), (0.50, 0.46), strict=True):
            record["metrics"]["choice_accuracy"] = level + draw.gauss(0, 0.005)
    assert [case.metric for case in judge(first).suspected] == ["choice_accuracy"]
    case = next(case for case in judge(first, again).cases if case.metric == "choice_accuracy")
    assert case.status == "regression" and case.change == pytest.approx(-0.08, abs=0.02)


def test_a_step_that_fails_at_head_alone_is_an_error(pairs: Make) -> None:
    made = pairs()
    made[4].head[0].update(status="crashed", reason="signal SIGSEGV")
    judged = judge(made)
    assert [(case.metric, case.status) for case in judged.cases] == [("status", "errored")]
    assert "in 1 of 10 runs crashed: signal SIGSEGV" in judged.cases[0].why
    assert exit_code(judged.cases) == 3


def test_a_step_that_fails_at_base_too_says_nothing(pairs: Make) -> None:
    broken = {"status": "failed", "reason": "no"}
    judged = judge(pairs(change=broken, base=broken))
    assert judged.cases == () and (judged.failed, judged.both) == (1, 1)
    mended = judge(pairs(base=broken))
    assert mended.cases == () and (mended.failed, mended.both) == (1, 0)
    assert (judge(pairs()).failed, judge(pairs()).both) == (0, 0)


def test_what_is_gone_is_missing_and_what_is_new_is_counted(pairs: Make) -> None:
    made = pairs(methods=("lora", "int8"))
    gone = [Pair(pair.number, pair.base, pair.head[:1]) for pair in made]
    judged = judge(gone)
    lost = {case.metric for case in judged.cases if case.status == "missing" and case.place.method == "int8"}
    assert lost == {case.metric for case in judged.cases if case.place.method == "lora"}, "each series of it"
    assert {case.place.method for case in judged.cases if case.status == "missing"} == {"int8"}
    assert exit_code(judged.cases) == 3
    added = judge([Pair(pair.number, pair.base[:1], pair.head) for pair in made])
    assert added.added == 1 and {case.place.method for case in added.cases} == {"lora"}
    for pair in made:
        del pair.head[0]["metrics"]["perplexity"]
    assert statuses(judge(gone))["perplexity"] == "missing"


def test_other_hard_facts_are_refused_and_named(pairs: Make, synthetic: ModuleType) -> None:
    hard = synthetic.ENVIRONMENT["hard"] | {"measurement_version": 2}
    judged = judge(pairs(change={"environment": synthetic.ENVIRONMENT | {"hard": hard}}))
    assert [case.status for case in judged.cases] == ["refused"]
    assert "measurement version None -> 2" in judged.cases[0].why and exit_code(judged.cases) == 3


def test_series_are_those_of_the_nights(pairs: Make) -> None:
    """What a gate alarms on is found in the history under the same id and name."""
    made = pairs(methods=("lora", "int8"))
    night = night_of([record for pair in made for record in pair.base])
    known = {case.id: case.series for case in cases_of([night])}
    judged = judge(made).cases
    assert {case.id: case.series for case in judged} == known and len(known) == len(judged) == 12


def test_what_changed_with_it_is_named(pairs: Make, synthetic: ModuleType) -> None:
    soft = synthetic.ENVIRONMENT["soft"] | {"libraries": {"torch": "2.14.0", "transformers": "5.23.0"}}
    judged = judge(pairs(head={"perplexity": 9.0}, change={"environment": synthetic.ENVIRONMENT | {"soft": soft}}))
    assert next(case.suspects for case in judged.cases if case.metric == "perplexity") == ("torch 2.13.0 -> 2.14.0",)


def test_times_of_disturbed_runs_do_not_count(pairs: Make) -> None:
    flag = "contention: other processes used 51% of the cores"
    made = pairs(12)
    for pair in made[:2]:
        pair.head[0].update(flags=[flag])
        pair.head[0]["metrics"]["wall_seconds"] = 100.0
    case = next(case for case in judge(made).cases if case.metric == "wall_seconds")
    assert case.status == "pass" and "in 10 interleaved pairs" in case.why and case.after < 11
    assert lacking(made, 10) == 0 and lacking(made, 12) == 2 and lacking(made[:10], 10) == 2
    few = judge(made[:10])
    assert statuses(few)["wall_seconds"] == "insufficient" and statuses(few)["peak_memory_bytes"] == "pass"
    assert "8 undisturbed pairs of runs; a verdict takes 10" in why(few, "wall_seconds")
    none = judge([pair for pair in made if pair.number <= 2])
    assert "in each of 2 pairs" in why(none, "wall_seconds") and statuses(none)["wall_seconds"] == "insufficient"


def test_a_suspicion_that_only_disturbed_runs_could_confirm_is_no_verdict(pairs: Make) -> None:
    slow = {"wall_seconds": 11.0}
    flags = {"flags": ["swapping: memory was read back from swap"]}
    for spoiled in (3, 10):
        again = pairs(spoiled, head=slow, change=flags, first=1001) + pairs(10 - spoiled, head=slow, first=1101)
        judged = judge(pairs(head=slow), again)
        assert statuses(judged)["wall_seconds"] == "insufficient" and not judged.suspected
        assert f"then came {10 - spoiled} undisturbed" in why(judged, "wall_seconds")
        assert statuses(judged)["tokens_per_second"] == "pass", "what was not suspected is judged as before"


def test_numbers_whose_first_pairs_were_all_disturbed_are_told(pairs: Make) -> None:
    flags = {"flags": ["swapping: memory was read back from swap"]}
    judged = judge(pairs(change=flags), pairs(first=11))
    assert statuses(judged)["wall_seconds"] == statuses(judged)["tokens_per_second"] == "insufficient"
    assert why(judged, "wall_seconds") == "no undisturbed pair among the first"


def test_a_step_that_no_pair_has_on_both_sides_is_told(pairs: Make) -> None:
    one, other = pairs(2)
    judged = judge([Pair(1, one.base, ()), Pair(2, (), other.head)])
    assert statuses(judged) == {"status": "insufficient"}


def test_what_was_not_suspected_is_told_by_the_first_pairs_alone(pairs: Make) -> None:
    """The others were measured for another number; what they say of this one was never asked."""
    first = pairs(head={"tokens_per_second": 900.0})
    again = pairs(head={"tokens_per_second": 900.0, "wall_seconds": 13.0}, first=11)
    before, after = ({one.metric: one for one in judge(first, more).cases} for more in ((), again))
    assert after["tokens_per_second"].status == "regression"
    assert after["wall_seconds"] == before["wall_seconds"] and after["wall_seconds"].status == "pass"
    assert after["wall_seconds"].low < 0 < after["wall_seconds"].high
    assert "in 10 interleaved pairs" in after["wall_seconds"].why
    few = pairs(9, head={"tokens_per_second": 900.0})
    assert judge(few, again).cases[0].after == judge(few).cases[0].after


def test_the_bar_is_what_counts_or_twice_what_can_be_seen() -> None:
    assert bar([0.0] * 10, 0.03) == 0.03
    assert bar([0.1, -0.1] * 5, 0.03) > 0.1
    assert verdict([0.2] * 9, [], 0.03) == "few"
    assert verdict([0.2] * 10, [], 0.03) == "suspected"
    assert verdict([0.2] * 10, [0.2] * 10, 0.03) == "worse"
    assert verdict([0.2] * 10, [0.2] * 9, 0.03) == "few"
    assert verdict([0.02] * 10, [], 0.03) == verdict([0.02] * 10, [0.02] * 3, 0.03) == "same"


@pytest.mark.parametrize("noise", NOISES)
def test_the_rule_raises_no_false_alarms(noise: str) -> None:
    assert alarm_rate(Row("harness gate", noise, 10, 0.0), 300, 1) <= 0.005


def test_the_rule_finds_what_it_promises() -> None:
    goals = [row for row in rows() if row.rule == "harness gate" and row.effect and row.goal]
    assert {(row.pairs, row.effect) for row in goals} == {(10, 0.1), (20, 0.05)}
    for row in goals:
        assert alarm_rate(row, 150, 1) >= 0.95, row


def test_without_turns_a_warming_machine_is_blamed_on_the_head() -> None:
    drift = next(name for name in NOISES if name.startswith("drift"))
    assert alarm_rate(Row("Welch and 5 %, A then B", drift, 10, 0.0), 200, 1) > 0.3
    assert alarm_rate(Row("same rule, A then B", drift, 10, 0.0), 300, 1) > 0.02


def test_the_table_of_the_calibration() -> None:
    table = gate_rows(2, 1)
    assert table == gate_rows(2, 1)
    assert {row["rule"] for row in table} == set(RULES)
    assert set(table[0]) == {"rule", "noise", "pairs", "effect", "alarm_rate", "goal"}
