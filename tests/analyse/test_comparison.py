"""Comparisons of hand-made records: pairing, what is refused, what a report's correction does."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from scipy import stats

from harness.analyse.case import Case, exit_code
from harness.analyse.comparison import Comparison, compare
from harness.analyse.finding import wanted
from harness.analyse.sides import matched
from harness.analyse.significance import holm, signed_rank
from harness.report.case_words import in_words

Make = Callable[..., dict[str, Any]]


@pytest.fixture
def evaluated(synthetic: ModuleType) -> Make:
    """An evaluation with ``metrics``, and ``losses`` per window that give it loss and perplexity."""

    def make(
        metrics: dict[str, float] | None = None, losses: list[float] | None = None, right: list[int] | None = None,
        task: str = "perplexity", method: str = "lora", **more: Any,
    ) -> dict[str, Any]:  # fmt: skip
        found = dict(metrics or {})
        items: dict[str, Any] = {}
        if losses is not None:
            mean = sum(losses) / len(losses)
            found |= {"loss": mean, "perplexity": math.exp(mean)}
            items["perplexity"] = {"window": list(range(len(losses))), "nll": losses, "tokens": [1] * len(losses)}
        if right is not None:
            found["choice_accuracy"] = sum(right) / len(right)
            items["choice"] = {"item": list(range(len(right))), "correct": right}
        return synthetic.record("eval", method, task=task, metrics=found, items=items, **more)

    return make


def at(minute: int) -> str:
    return f"2026-11-23T22:{minute:02d}:00.000Z"


def case(made: Comparison, metric: str) -> Case:
    (found,) = [one for one in made.cases if one.metric == metric]
    return found


def windows(level: float, spread: float = 0.3, seed: int = 0, more: float = 0.0) -> list[float]:
    """Losses of windows that differ a lot, and between two calls with other ``more`` by a little."""
    shared, own = random.Random(1), random.Random(seed)
    return [level + shared.gauss(0, spread) + more * own.gauss(0, 1) for _ in range(200)]


def test_paired_windows_tell_what_unpaired_ones_could_not(evaluated: Make) -> None:
    base, head = windows(2.0), windows(2.03, seed=1, more=0.02)
    made = compare([evaluated(losses=base)], [evaluated(losses=head, attempt=2)])
    found = case(made, "perplexity")
    assert found.status == "regression" and found.change == pytest.approx(math.exp(0.03) - 1, abs=0.004)
    assert found.low < found.change < found.high and found.low > 0.02
    assert stats.ttest_ind(base, head).pvalue > 0.05
    assert exit_code(made.cases) == 1


def test_a_clear_difference_that_is_tiny_is_no_news(evaluated: Make) -> None:
    made = compare([evaluated(losses=windows(2.0))], [evaluated(losses=windows(2.002, seed=1, more=0.001))])
    found = case(made, "perplexity")
    assert found.status == "pass" and found.low > 0 and "less than counts" in found.why


def test_no_difference_says_the_smallest_detectable_change(evaluated: Make) -> None:
    made = compare([evaluated(losses=windows(2.0))], [evaluated(losses=windows(2.0, seed=1, more=0.2))])
    found = case(made, "perplexity")
    assert found.status == "pass" and "no clear difference" in found.why
    assert "; smallest detectable change 3.77 %" in in_words(found)
    # z(97.5 %) + z(80 %) standard errors of 200 differences of spread 0.2
    assert found.smallest == pytest.approx(2.802 * 0.2 / 200**0.5, rel=0.08)


def test_right_and_wrong_is_mcnemars_test(evaluated: Make) -> None:
    base = [1] * 60 + [0] * 40
    head = [1] * 40 + [0] * 20 + [1] * 2 + [0] * 38
    found = case(compare([evaluated(right=base)], [evaluated(right=head)]), "choice_accuracy")
    expected = stats.binomtest(2, 22, 0.5).pvalue
    assert found.status == "regression" and f"p = {expected:.2g} " in found.why
    assert (found.before, found.after) == (0.6, 0.42) and found.change == pytest.approx(-0.3)


def test_holm_counts_every_test_of_the_report(evaluated: Make) -> None:
    weak = [1] * 50 + [0] * 50, [1] * 41 + [0] * 9 + [1] * 1 + [0] * 49
    tasks = ["choice", *(f"choice(items={number})" for number in range(10))]
    alone = compare([evaluated(right=weak[0])], [evaluated(right=weak[1])])
    assert case(alone, "choice_accuracy").status == "regression"
    sides = [[evaluated(right=right, task=task) for task in tasks] for right in (weak[0], [*weak[0]])]
    sides[1][0] = evaluated(right=weak[1], task=tasks[0])
    sides[1][1:] = [evaluated(right=[0, *weak[0][1:]], task=task) for task in tasks[1:]]
    assert {one.status for one in compare(*sides).cases if one.metric == "choice_accuracy"} == {"pass"}


def turns(evaluated: Make, runs: int, head: dict[str, float], **more: Any) -> list[list[dict[str, Any]]]:
    """``runs`` interleaved pairs of 100 of everything that ``head`` has another level for."""
    draw = random.Random(runs)
    return [
        [
            evaluated({name: level * math.exp(draw.gauss(0, 0.01)) for name, level in levels.items()}, seed=place,
                      started=at(2 * place + late), **more)
            for place in range(runs)
        ]
        for late, levels in enumerate((dict.fromkeys(head, 100.0), head))
    ]  # fmt: skip


SLOW = {"decode_tokens_per_second": 50.0, "tokens_per_second": 50.0}


def test_where_no_p_value_could_pass_the_correction_nothing_passes(evaluated: Make) -> None:
    """Of six pairs p is 2 / 64 at least, thrice that after Holm's correction of three tests (these and wall time)."""
    few = compare(*turns(evaluated, 6, SLOW))
    for name in SLOW:
        found = case(few, name)
        assert found.status == "insufficient" and found.smallest is None
        assert found.why == "6 pairs of runs cannot say anything as one of 3 tests of times; it takes 7"
    assert exit_code(few.cases, strict=True) == 4
    enough = compare(*turns(evaluated, 7, SLOW))
    assert {case(enough, name).status for name in SLOW} == {"regression"}


def test_of_a_few_items_nothing_could_be_said_either(evaluated: Make) -> None:
    found = case(compare([evaluated(right=[1, 1, 1, 1, 0])], [evaluated(right=[0, 0, 0, 0, 0])]), "choice_accuracy")
    assert found.status == "insufficient" and found.why == "5 items cannot say anything; it takes 6"


@pytest.mark.parametrize("tests", [1, 2, 3, 4, 26, 40, 51, 1000])
def test_how_many_pairs_it_takes(tests: int) -> None:
    def smallest(pairs: int) -> float:
        return holm([signed_rank([1.0 + place for place in range(pairs)])] * tests)[0]

    assert smallest(wanted(tests, 0.05)) < 0.05 <= smallest(wanted(tests, 0.05) - 1)


def test_times_and_quality_are_corrected_apart(evaluated: Make) -> None:
    sides = turns(evaluated, 6, {"wall_seconds": 200.0})
    for side, right in zip(sides, ([1, 0], [0, 1]), strict=True):
        side.append(evaluated(right=right + [1] * 50, task="choice"))
    made = compare(*sides)
    assert [one.status for one in made.cases if one.metric == "wall_seconds"] == ["regression", "insufficient"]
    assert case(made, "choice_accuracy").status == "pass"


def test_what_would_have_been_found_is_of_the_corrected_test(evaluated: Make) -> None:
    sides = [windows(2.0), windows(2.0, seed=1, more=0.2)]
    alone = compare(*([evaluated(losses=losses)] for losses in sides))
    tasks = [f"perplexity(view={number})" for number in range(20)]
    many = compare(*([evaluated(losses=losses, task=task) for task in tasks] for losses in sides))
    ratio = stats.norm.ppf([1 - 0.05 / 40, 1 - 0.05 / 2]) + stats.norm.ppf(0.8)
    found = [next(one.smallest for one in made.cases if one.metric == "perplexity") for made in (many, alone)]
    assert math.log1p(found[0]) / math.log1p(found[1]) == pytest.approx(ratio[0] / ratio[1])


def test_two_occasions_prove_nothing_about_speed(evaluated: Make) -> None:
    def runs(first: int, level: float, every: int = 1) -> list[dict[str, Any]]:
        return [
            evaluated({"decode_tokens_per_second": level + place % 3}, seed=place, started=at(first + every * place))
            for place in range(8)
        ]

    apart = compare(runs(0, 100.0), runs(20, 80.0))
    found = case(apart, "decode_tokens_per_second")
    assert found.status == "insufficient" and "not interleaved" in found.why
    assert found.change == pytest.approx(-0.2, abs=0.01) and found.low is not None
    assert exit_code(apart.cases) == 0 and exit_code(apart.cases, strict=True) == 4

    turns = case(compare(runs(0, 100.0, every=2), runs(1, 80.0, every=2)), "decode_tokens_per_second")
    assert turns.status == "regression" and turns.change == pytest.approx(-0.2, abs=0.01)
    few = compare(runs(0, 100.0, every=2)[:5], runs(1, 80.0, every=2)[:5])
    assert "5 interleaved and undisturbed pairs of runs; a verdict takes 6" in case(few, "decode_tokens_per_second").why
    one = compare(runs(0, 100.0)[:1], runs(1, 80.0)[:1])
    assert "single pair" in case(one, "decode_tokens_per_second").why


def test_peaks_are_held_against_their_own_noise(evaluated: Make) -> None:
    def peak(*values: float) -> list[dict[str, Any]]:
        return [evaluated({"peak_memory_bytes": value}, attempt=number) for number, value in enumerate(values, start=1)]

    single = case(compare(peak(1e9), peak(1.08e9)), "peak_memory_bytes")
    assert single.status == "pass" and single.smallest == pytest.approx(0.1)
    assert case(compare(peak(1e9), peak(1.2e9)), "peak_memory_bytes").status == "regression"
    quiet = compare(peak(1e9, 1.001e9, 0.999e9), peak(1.08e9, 1.081e9, 1.079e9))
    assert case(quiet, "peak_memory_bytes").status == "regression"
    noisy = compare(peak(1e9, 1.2e9, 0.8e9), peak(1.08e9, 1.28e9, 0.88e9))
    assert case(noisy, "peak_memory_bytes").status == "pass"


def test_facts_are_exact_and_have_a_better_side_or_none(evaluated: Make) -> None:
    base, head = ({"parameters": count, "checkpoint_bytes": size} for count, size in ((10.0, 1000.0), (11.0, 1010.0)))
    made = compare([evaluated(base)], [evaluated(head)])
    assert case(made, "parameters").status == case(made, "checkpoint_bytes").status == "regression"
    chosen = compare([evaluated(base)], [evaluated(head, method="int8")], {"method"})
    assert case(chosen, "parameters").status == "pass" and case(chosen, "checkpoint_bytes").status == "regression"
    assert case(compare([evaluated(base)], [evaluated(base)]), "parameters").why == "the same"


def test_methods_are_paired_by_everything_else(evaluated: Make, synthetic: ModuleType) -> None:
    tasks = ("perplexity", "perplexity(view=instructions)")
    same = windows(2.0)
    sides = [[evaluated(losses=same, method=method, task=task) for task in tasks] for method in ("lora", "int8")]
    made = compare([*sides[0], synthetic.record("train", "lora")], sides[1], {"method"})
    assert made.left == 1 and made.added == 0
    assert [one.why for one in made.cases if one.metric == "perplexity"] == ["the same"] * 2
    assert {one.place.method for one in made.cases} == {"int8"}
    assert [one.status for one in compare(*sides).cases] == ["missing", "missing"], "not paired if not asked for"


def test_seeds_are_pairs_and_their_spread_widens_the_interval(evaluated: Make) -> None:
    def trained(level: float, shifts: list[float]) -> list[dict[str, Any]]:
        return [evaluated(losses=windows(level + shift), seed=seed) for seed, shift in enumerate(shifts)]

    steady = compare(trained(2.0, [0, 0, 0]), trained(2.05, [0, 0.001, -0.001]))
    assert case(steady, "perplexity").status == "regression"
    loose = case(compare(trained(2.0, [0, 0, 0]), trained(2.05, [0.1, -0.1, 0.0])), "perplexity")
    assert loose.status == "pass" and loose.low < 0 < loose.high


def test_seeds_that_the_head_lacks_are_told_and_count_on_neither_side(evaluated: Make) -> None:
    levels = [2.0, 2.0, 5.0, 5.0, 5.0]
    base = [evaluated(losses=windows(level), seed=seed) for seed, level in enumerate(levels)]
    head = [evaluated(losses=windows(2.0), seed=seed) for seed in (0, 1)]
    head += [evaluated(status="crashed", reason="SIGSEGV", seed=seed) for seed in (2, 3)]
    made = compare(base, head)
    assert {(one.place.seed, one.status, one.why) for one in made.cases if one.metric == "status"} == {
        (2, "errored", "crashed: SIGSEGV"), (3, "errored", "crashed: SIGSEGV"),
        (4, "missing", "in the base, and not in the head"),
    }  # fmt: skip
    assert exit_code(made.cases) == 3
    assert case(made, "perplexity").why == "the same" and case(made, "perplexity").before < 10
    assert exit_code(compare(head, base).cases) == 0, "what the head has more of is no error"
    asked = compare(base[:1], [evaluated(losses=windows(2.0), seed=7)], {"seed"})
    assert exit_code(asked.cases) == 0 and case(asked, "perplexity").status == "pass"
    assert [one.status for one in compare(base[:1], [evaluated(losses=windows(2.0), seed=7)]).cases] == ["missing"]


def test_what_does_not_depend_on_a_seed_is_held_against_every_seed(evaluated: Make) -> None:
    base = [evaluated(losses=windows(2.0), method="base")]
    head = [evaluated(losses=windows(1.9 + 0.001 * seed), seed=seed) for seed in range(3)]
    made = compare(base, head, {"method"})
    assert case(made, "perplexity").status == "improvement" and exit_code(made.cases) == 0


def test_other_hard_facts_are_refused_and_named(evaluated: Make, synthetic: ModuleType) -> None:
    there = {"environment": synthetic.ENVIRONMENT | {"hard": synthetic.ENVIRONMENT["hard"] | {"cores": 8}}}
    metrics = {"decode_tokens_per_second": 100.0, "parameters": 5.0}
    made = compare([evaluated(metrics)], [evaluated(metrics, **there)])
    assert [(one.status, one.why) for one in made.cases] == [("refused", "other hard facts: cores 2 -> 8")]
    assert exit_code(made.cases) == 3
    meant = compare([evaluated(metrics)], [evaluated(metrics, **there)], {"environment"})
    assert {one.metric: one.status for one in meant.cases} == {"parameters": "pass"} and exit_code(meant.cases) == 0
    assert meant.apart == ("cores 2 -> 8",) and made.apart == ()


def test_of_several_machines_the_shared_one_counts(evaluated: Make, synthetic: ModuleType) -> None:
    there = {"environment": synthetic.ENVIRONMENT | {"hard": {"cores": 8}}}
    (cell,) = matched([evaluated(), evaluated(attempt=2, **there)], [evaluated(attempt=3)])
    assert [one["attempt"] for one in cell.base] == [1] and cell.hard == ()


def test_what_failed_and_what_is_gone(evaluated: Make) -> None:
    made = compare(
        [evaluated(losses=windows(2.0)), evaluated(right=[1, 0], task="choice")],
        [evaluated(status="out_of_memory", reason="4 GiB wanted")],
    )
    assert {one.status: one.why for one in made.cases} == {
        "errored": "out_of_memory: 4 GiB wanted", "missing": "in the base, and not in the head"
    }  # fmt: skip
    late = compare([evaluated({"chrf": 10.0, "parameters": 1.0})], [evaluated({"parameters": 1.0})])
    assert case(late, "chrf").status == "missing"
    broken = evaluated(status="failed", reason="no")
    both = compare([broken], [broken])
    assert (both.failed, both.shared, both.cases) == (1, 1, ())
    new = compare([evaluated(losses=windows(2.0))], [evaluated(losses=windows(2.0)), evaluated(task="choice")])
    assert new.added == 1 and [one.why for one in new.cases if one.metric == "perplexity"]


def test_two_sweeps_of_one_suite_are_told_apart_by_their_budgets(evaluated: Make) -> None:
    short, long = ({"job": {"budget": {"steps": steps}}} for steps in (10, 100))
    sides = [
        [evaluated({"chrf": 10.0}, step="1", **short), evaluated({"chrf": 20.0}, step="2", **long)] for _ in range(2)
    ]
    assert len(matched(*sides)) == 2
    (cell,) = matched(sides[0][:1], sides[1][1:])
    assert cell.changed == ("steps 10 -> 100",)


def test_quality_without_items_needs_runs_or_repeats(evaluated: Make) -> None:
    one = compare([evaluated({"chrf": 10.0})], [evaluated({"chrf": 9.0}, attempt=2)])
    assert case(one, "chrf").status == "insufficient" and "no scores by item" in case(one, "chrf").why
    assert case(compare([evaluated({"chrf": 10.0})], [evaluated({"chrf": 10.0})]), "chrf").why == "the same"
    twice = [[evaluated({"chrf": value}, attempt=attempt) for attempt in (1, 2)] for value in (10.0, 9.0)]
    assert case(compare(*twice), "chrf").status == "regression"
    draw = random.Random(1)
    many = [[evaluated({"chrf": level + draw.gauss(0, 0.1)}, seed=seed) for seed in range(8)] for level in (10.0, 9.0)]
    found = case(compare(*many), "chrf")
    assert found.status == "regression" and found.change == pytest.approx(-0.1, abs=0.02)


def test_distances_from_different_references_are_not_compared(evaluated: Make) -> None:
    def of(method: str, reference: str, value: float) -> dict[str, Any]:
        measured = {"kl_divergence": value, "top1_agreement": 1 - value}
        return evaluated(measured, losses=windows(2.0), method=method, job={"reference": reference})

    apart = compare([of("lora", "base", 0.276)], [of("lora > int8", "lora", 0.001)], {"method"})
    for metric in ("kl_divergence", "top1_agreement"):
        found = case(apart, metric)
        assert (found.status, found.why) == ("insufficient", "each side is measured from a reference of its own")
    assert case(apart, "perplexity").status == "pass"
    shared = compare([of("int8", "base", 0.001)], [of("int4", "base", 0.04)], {"method"})
    assert "reference" not in case(shared, "kl_divergence").why
