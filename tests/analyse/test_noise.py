"""The noise floor against synthetic repeats whose noise is known, and its parts worked out a second way."""

from __future__ import annotations

import math
from types import ModuleType
from typing import Any

import numpy
import pytest
from scipy import stats

from harness.analyse.case import Place
from harness.analyse.noise import GATE_PAIRS, noise_floor, noise_of
from harness.analyse.selftest import last_self_test, self_test
from harness.results.rows import frame_of

PLACE = Place("selftest", "s", "eval", "base", "base", "perplexity", "embedded", "source", "fp32", "cpu", None)
SIGMA = 0.02


def lognormal(count: int, seed: int = 0, sigma: float = SIGMA) -> list[float]:
    return (3.0 * numpy.exp(numpy.random.default_rng(seed).normal(0, sigma, count))).tolist()


@pytest.fixture
def attempt(synthetic: ModuleType) -> Any:
    """A record of the ``number``-th repeat, a minute after the one before; ``metrics`` are what it measured."""

    def make(number: int, task: str = "perplexity", **changes: Any) -> dict[str, Any]:
        started = f"2026-11-25T10:{number:02d}:00.000Z"
        metrics = {"wall_seconds": 2.0, **changes.pop("metrics", {})}
        given = {"started": started, "suite": "selftest", "metrics": metrics, **changes}
        return synthetic.record("eval", "base", task=task, attempt=number, **given)

    return make


def test_the_deviation_and_the_smallest_change_are_those_of_the_generator() -> None:
    found = noise_of(PLACE, "wall_seconds", lognormal(4000))
    assert found.n == 4000 and found.level == pytest.approx(3.0, rel=0.002)
    assert found.deviation == pytest.approx(SIGMA, rel=0.05)
    # Differences of neighbours have sqrt(2) times the noise.
    factor = stats.t.ppf(0.95, 9) + stats.t.ppf(0.8, 9)
    assert math.log1p(found.smallest) == pytest.approx(factor * SIGMA * math.sqrt(2 / 10), rel=0.05)


def test_a_gate_finds_the_smallest_change_in_four_of_five_simulations() -> None:
    smallest = noise_of(PLACE, "wall_seconds", lognormal(4000)).smallest
    generator = numpy.random.default_rng(1)
    first, second = (numpy.exp(generator.normal(0, SIGMA, (20_000, GATE_PAIRS))) for _ in range(2))

    def alarms(change: float) -> float:
        logs = numpy.log(second * (1 + change) / first)
        return float((stats.ttest_1samp(logs, 0, axis=1, alternative="greater").pvalue < 0.05).mean())

    assert alarms(smallest) == pytest.approx(0.8, abs=0.03)
    assert alarms(0.0) == pytest.approx(0.05, abs=0.01)
    assert alarms(smallest / 2) < 0.45


def test_a_thing_against_itself_shows_no_difference_in_95_of_100() -> None:
    same = [noise_of(PLACE, "wall_seconds", lognormal(10, seed)).same for seed in range(2000)]
    assert numpy.mean(same) == pytest.approx(0.95, abs=0.015)


def test_the_comparison_is_that_of_even_over_odd_repeats() -> None:
    values = [1.0, 1.1, 2.0, 1.9, 4.0, 4.4, 100.0]
    found = noise_of(PLACE, "wall_seconds", values).ratio
    logs = numpy.log([1.1, 0.95, 1.1])
    low, high = stats.t.interval(0.95, 2, logs.mean(), stats.sem(logs))
    assert found.n == 3, "the seventh has no partner"
    assert (found.estimate, found.low, found.high) == pytest.approx((math.exp(logs.mean()), *numpy.exp([low, high])))


def test_a_slow_drift_is_no_noise_between_neighbours() -> None:
    drifting = [value * (1 + 0.001 * number) for number, value in enumerate(lognormal(400))]
    still, moved = noise_of(PLACE, "wall_seconds", lognormal(400)), noise_of(PLACE, "wall_seconds", drifting)
    assert moved.deviation > 4 * still.deviation
    assert moved.smallest == pytest.approx(still.smallest, rel=0.02)


def test_shares_are_compared_in_their_own_unit() -> None:
    values = [0.50, 0.52, 0.50, 0.52]
    found = noise_of(PLACE, "choice_accuracy", values)
    assert found.deviation == pytest.approx(numpy.std(values, ddof=1))
    assert found.ratio.estimate == pytest.approx(0.02) and found.same is False
    factor = stats.t.ppf(0.95, 9) + stats.t.ppf(0.8, 9)
    assert found.smallest == pytest.approx(factor * 0.02 / math.sqrt(10))


@pytest.mark.parametrize("value", [0.0, -1.5, 7.25])
def test_what_repeats_to_the_bit_has_no_noise(value: float) -> None:
    found = noise_of(PLACE, "kl_divergence", [value] * 5)
    assert (found.deviation, found.smallest, found.same) == (0.0, 0.0, True)


def test_a_single_repeat_says_nothing() -> None:
    found = noise_of(PLACE, "wall_seconds", [2.0])
    assert (found.n, found.level, found.deviation, found.ratio, found.smallest, found.same) == (
        1, 2.0, None, None, None, None
    )  # fmt: skip


def test_attempts_are_taken_as_they_were_measured_and_only_good_ones_of_the_installation(attempt: Any) -> None:
    values = {number: 2.0 + 0.1 * (number % 3) for number in range(1, 12)}
    records = [attempt(number, metrics={"wall_seconds": value}) for number, value in values.items()]
    others = [
        attempt(20, status="failed", metrics={"wall_seconds": 50.0}),
        attempt(21, installation="f" * 12, metrics={"wall_seconds": 60.0}),
    ]
    (found,) = noise_floor(frame_of([*reversed(records), *others]), records[0]["environment"]["installation"])
    assert found == noise_of(found.place, "wall_seconds", list(values.values()))
    assert (found.place.task, found.place.method, found.place.seed) == ("perplexity", "base", None)


def test_numbers_that_are_not_watched_are_left_out(attempt: Any) -> None:
    records = [attempt(number, metrics={"loss": 2.0, "perplexity": 7.4, "contention_share": 0.1}) for number in (1, 2)]
    found = noise_floor(frame_of(records), records[0]["environment"]["installation"])
    assert {one.metric for one in found} == {"perplexity", "wall_seconds"}


def test_a_number_that_nothing_random_enters_and_that_moves_is_told(attempt: Any) -> None:
    records = [attempt(number, metrics={"perplexity": 7.4, "parameters": 5 + (number == 2)}) for number in (1, 2, 3)]
    found = self_test(frame_of(records), records[0]["environment"]["installation"])
    assert [one.metric for one in found.unequal] == ["parameters"]
    assert [one.metric for one in found.exact] == ["perplexity"]
    assert [one.metric for one in found.compared] == ["wall_seconds"]
    assert found.to_dict()["unequal"] == ["perplexity base @ embedded, fp32: parameters"]


def test_the_launchers_share_and_the_overhead_by_hand(attempt: Any) -> None:
    shares, walls, overheads = (0.01, 0.02, 0.006), (1.0, 2.0, 10.0), (0.01, 0.03, 0.02)
    records = [
        attempt(number, task, metrics={"wall_seconds": wall, "supervisor_cpu_share": share, **more})
        for number, (wall, share, task, more) in enumerate(
            zip(walls, shares, ("perplexity", "choice", "perplexity"), ({}, {}, {}), strict=True), start=1
        )
    ]
    records += [attempt(number + 10, "meter_overhead", metrics={"meter_overhead_share": value})
                for number, value in enumerate(overheads)]  # fmt: skip
    found = self_test(frame_of(records), records[0]["environment"]["installation"])
    assert found.supervised.overall == pytest.approx((0.01 + 0.04 + 0.06) / 13)
    assert (found.supervised.median, found.supervised.highest) == (0.01, 0.02)
    assert (found.supervised.where, found.supervised.steps) == ("choice", 3)
    assert (found.steps, found.disturbed) == (6, 0)
    assert found.overhead.estimate == 0.02 and found.overhead.low >= 0.01 and found.overhead.high <= 0.03


def test_disturbed_steps_are_counted(attempt: Any) -> None:
    shares = (0.0, 0.04, 0.06, 0.5)
    records = [attempt(number, metrics={"contention_share": share}) for number, share in enumerate(shares, start=1)]
    found = self_test(frame_of(records), records[0]["environment"]["installation"])
    assert (found.steps, found.disturbed) == (4, 2)


def test_only_the_last_self_test_on_the_latest_machine_counts(attempt: Any) -> None:
    records = [attempt(number) for number in range(1, 9)]
    for record in records[:4]:
        record["environment"] = {**record["environment"], "hard_id": "another"}
    frame, installation = frame_of(records), records[0]["environment"]["installation"]
    assert self_test(frame, installation).repeats == 4
    late = self_test(frame, installation, "2026-11-25T10:07:00.000Z")
    assert (late.repeats, late.began, late.ended) == (2, records[6]["started"], records[7]["started"])
    assert self_test(frame, installation, "2027") is None


def test_the_last_self_test_of_a_folder_is_one_on_the_same_machine(attempt: Any, tmp_path: Any) -> None:
    import json

    def keep(installation: str, hard: str, minutes: range, since: str) -> None:
        folder = tmp_path / "selftest" / installation
        folder.mkdir(parents=True)
        for number in minutes:
            record = attempt(number, installation=installation)
            record["environment"] = {**record["environment"], "hard_id": hard}
            (folder / f"{record['record']}.json").write_text(json.dumps(record))
        (folder / "plan.json").write_text(json.dumps({"format": 1, "since": since}))

    assert last_self_test(tmp_path, {"here"}) is None
    keep("a" * 12, "here", range(1, 5), "2026-11-25T10:03")
    keep("b" * 12, "here", range(10, 13), "")
    keep("c" * 12, "elsewhere", range(20, 22), "")
    assert last_self_test(tmp_path, {"nowhere"}) is None
    newest, own = last_self_test(tmp_path, {"here"}), last_self_test(tmp_path, {"here"}, "a" * 12)
    assert (newest.installation, newest.repeats) == ("b" * 12, 3)
    assert (own.installation, own.repeats) == ("a" * 12, 2)
    assert last_self_test(tmp_path, {"here", "elsewhere"}, "d" * 12).installation == "c" * 12
