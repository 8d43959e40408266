"""What history says of nights: regressions with suspects, mended and accepted ones, and a machine that moved."""

from __future__ import annotations

import dataclasses
import sys
from datetime import date
from pathlib import Path
from typing import Any

import numpy
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from nights import COORDINATES, HARD, SOFT, canary, entry, night

from harness.analyse.accepted import Acceptance, acceptance_of, read, write
from harness.analyse.case import Case, exit_code
from harness.analyse.history import cases_of, stories, unknown_machines
from harness.errors import UsageError
from harness.results.nights import Night

RATE, LOSS = "tokens_per_second", "perplexity"


def rates(*levels: float, spread: float = 0.01, seed: int = 0, **other: Any) -> list[Night]:
    """Nights of one training whose tokens per second lie around the levels given."""
    generator = numpy.random.default_rng(seed)
    return [
        night(number, [entry({RATE: level * (1 + float(generator.normal(0, spread)))})], **other)
        for number, level in enumerate(levels)
    ]  # fmt: skip


def case(nights: list[Night], metric: str = RATE, accepted: tuple[Acceptance, ...] = ()) -> Case:
    """The one case of a metric."""
    (found,) = [one for one in cases_of(nights, accepted) if one.metric == metric]
    return found


def test_a_steady_series_passes_and_says_what_it_could_have_seen() -> None:
    found = case(rates(*[100] * 30))
    assert found.status == "pass" and found.why == "no clear difference"
    assert 0 < found.smallest < 0.01, "by the noise alone; what counts is asked apart"
    noisy = case(rates(*[100] * 30, spread=0.05))
    assert noisy.smallest == pytest.approx(2.49 * 0.05 * (1 / 30 + 1 / 8) ** 0.5, rel=0.4)


def test_too_few_nights_are_insufficient() -> None:
    found = case(rates(*[100] * 13))
    assert found.status == "insufficient" and "from 14 on" in found.why
    assert exit_code([found]) == 0 and exit_code([found], strict=True) == 4


def test_a_slow_down_is_a_regression_with_its_night_and_what_changed_with_it() -> None:
    nights = rates(*[100] * 20, *[92] * 8)
    newer = {"main": SOFT | {"libraries": {"torch": "2.14.0"}}}
    nights = [dataclasses.replace(one, software=newer) if number >= 20 else one for number, one in enumerate(nights)]
    found = case(nights)
    assert found.status == "regression" and found.since == nights[20].name
    assert found.change == pytest.approx(-0.08, abs=0.01)
    assert found.low is not None and found.high is not None and found.low < -0.08 < found.high + 0.01
    assert found.suspects == ("torch 2.13.0 -> 2.14.0",)
    assert exit_code([found]) == 1


def test_a_faster_one_is_an_improvement_and_the_new_level_to_hold() -> None:
    assert case(rates(*[100] * 20, *[110] * 8)).status == "improvement"
    back = case(rates(*[100] * 20, *[110] * 12, *[100] * 10))
    assert back.status == "regression" and back.before == pytest.approx(110, rel=0.02)


def test_a_mended_slow_down_is_history() -> None:
    nights = rates(*[100] * 20, *[90] * 10, *[100] * 10)
    assert case(nights).status == "pass"
    (story,) = stories(nights)
    assert [change.at for change in story.changes] == [20, 30]


def test_a_slow_down_in_two_parts_is_told_from_its_first_night() -> None:
    found = case(rates(*[100] * 20, *[92] * 12, *[84] * 12))
    assert found.status == "regression" and found.since is not None and "20260121" in found.since
    assert found.before == pytest.approx(100, rel=0.01) and found.after == pytest.approx(84, rel=0.01)


def test_quality_that_repeats_to_the_bit_alarms_in_the_first_night() -> None:
    for values in ([20.0, 20.0, 20.0, 20.4], [20.0, 20.0, 20.4]):
        nights = [night(number, [entry({LOSS: value})]) for number, value in enumerate(values)]
        found = case(nights, LOSS)
        assert found.status == "regression" and found.change == pytest.approx(0.02) and found.since == nights[-1].name
    small = [night(number, [entry({LOSS: value})]) for number, value in enumerate([20.0, 20.0, 20.0, 20.05])]
    assert case(small, LOSS).status == "pass"


def test_any_other_number_of_parameters_is_a_regression_either_way() -> None:
    for after in (99.0, 101.0):
        nights = [night(number, [entry({"parameters": value})]) for number, value in enumerate([100.0, 100.0, after])]
        assert case(nights, "parameters").status == "regression"


def test_a_machine_that_moved_for_a_night_raises_nothing() -> None:
    """Twelve odd nights out of forty, spread over the time: none is looked at."""
    odd = {*range(10, 40, 3), 39}
    steps = [[entry({RATE: 60.0 if number in odd else 100 + number % 3}), canary(0.02 if number in odd else 0.01)]
             for number in range(40)]  # fmt: skip
    nights = [night(number, each) for number, each in enumerate(steps)]
    found = case(nights)
    assert found.status == "machine moved" and exit_code([found]) == 0
    assert case(nights[:39]).status == "pass"


def test_a_machine_that_moved_for_good_begins_a_new_level() -> None:
    steps = [[entry({RATE: (100 if number < 20 else 85) + number % 3}), canary(0.01 if number < 20 else 0.012)]
             for number in range(40)]  # fmt: skip
    found = case([night(number, each) for number, each in enumerate(steps)])
    assert found.status in ("machine moved", "pass") and exit_code([found]) == 0
    still = [[entry({RATE: (100 if number < 20 else 85) + number % 3}), canary(0.01)] for number in range(40)]
    assert case([night(number, each) for number, each in enumerate(still)]).status == "regression"


def test_times_of_disturbed_steps_are_not_looked_at_but_their_quality_is() -> None:
    """The last ten of thirty nights had a busy neighbour: slower, and no regression; another perplexity is one."""
    flag = ["contention: other processes used 40% of the cores"]
    steps = [[entry({RATE: 100 + number % 3 if number < 20 else 60.0, LOSS: 20.0 if number < 20 else 21.0},
                    flags=flag if number >= 20 else ["contention: 300 involuntary switches per CPU second"])]
             for number in range(30)]  # fmt: skip
    nights = [night(number, each) for number, each in enumerate(steps)]
    assert case(nights).status == "insufficient" and case(nights, LOSS).status == "regression"
    busy = [night(number, [entry({RATE: 100.0}, flags=flag)]) for number in range(20)]
    assert case(busy).status == "insufficient" and exit_code([case(busy)], strict=True) == 4


def test_the_last_nights_of_a_busy_machine_are_not_called_a_pass() -> None:
    flag = ["swapping: memory was read back from swap"]
    nights = [night(number, [entry({RATE: 100 + number % 3 if number < 20 else 50.0}, flags=flag * (number >= 20))])
              for number in range(23)]  # fmt: skip
    found = case(nights)
    assert found.status == "insufficient" and found.why.startswith("3 nights") and found.after != 50.0
    assert exit_code([found], strict=True) == 4


def shifted(rate: tuple[float, ...], canaries: tuple[float, ...]) -> Case:
    """Three parts of fourteen nights with their rates, and the canary's seconds in each."""
    steps = [[entry({RATE: rate[number // 14] + number % 3}), canary(canaries[number // 14])] for number in range(42)]
    return case([night(number, each) for number, each in enumerate(steps)])


def test_a_shifted_canary_excuses_no_more_than_it_shifted_and_nothing_that_was_there_before() -> None:
    assert shifted((100, 100, 85), (0.01, 0.01, 0.012)).status == "machine moved"
    assert shifted((100, 100, 60), (0.01, 0.01, 0.012)).status == "regression"
    assert shifted((100, 100, 85), (0.01, 0.01, 0.008)).status == "regression"
    found = shifted((100, 85, 70), (0.01, 0.01, 0.012))
    assert found.status == "regression" and "night 15" in found.why


def test_a_canary_does_not_excuse_quality() -> None:
    steps = [[entry({LOSS: 20.0 if number < 12 else 21.0}), canary(0.01 if number < 12 else 0.02)]
             for number in range(40)]  # fmt: skip
    assert case([night(number, each) for number, each in enumerate(steps)], LOSS).status == "regression"


def test_an_accepted_change_is_the_new_level_until_it_expires() -> None:
    nights = rates(*[100] * 20, *[92] * 8)
    accepted = acceptance_of(case(nights), "a needed check", date(2026, 1, 28), days=10)
    assert case(nights, accepted=(accepted,)).status == "accepted"
    worse = rates(*[100] * 20, *[92] * 8, *[84] * 8)
    assert case(worse, accepted=(accepted,)).status == "regression"
    later = rates(*[100] * 20, *[92] * 40)
    assert case(later, accepted=(accepted,)).status == "regression"
    long = dataclasses.replace(accepted, expires="2030-01-01")
    again = rates(*[100] * 20, *[92] * 12, *[110] * 12, *[95] * 12)
    assert case(again, accepted=(long,)).status == "regression", "another fall than the one that was accepted"


def test_only_what_is_wrong_can_be_accepted_and_with_a_reason() -> None:
    with pytest.raises(UsageError, match="nothing to accept"):
        acceptance_of(case(rates(*[100] * 20)), "why not", date(2026, 1, 28))
    with pytest.raises(UsageError, match="--reason"):
        acceptance_of(case(rates(*[100] * 20, *[92] * 8)), "  ", date(2026, 1, 28))


def test_accepted_changes_are_written_and_read(tmp_path: Path) -> None:
    path = tmp_path / "accepted.yaml"
    assert read(path) == []
    made = acceptance_of(case(rates(*[100] * 20, *[92] * 8)), "a: needed # check\nof 'all'", date(2026, 1, 28))
    write(path, [made])
    write(path, [*read(path), made])
    assert read(path) == [made]
    odd = (("{a: 1}", "must be a list"), ("- {series: x}", "entry 1 has"), ("- [", "cannot be read"), ("- {1: x}", "1"))
    for text, said in odd:
        path.write_text(text)
        with pytest.raises(UsageError, match=said):
            read(path)
    entry_text = path.read_text
    write(path, [made])
    whole = entry_text()
    for old, new, said in (
        (made.expires, "soon", "no date"), (f"after: {made.after}", "after: .nan", "after must be a number"),
        (f"series: {made.series}", "series: [7]", "series must be text"),
    ):  # fmt: skip
        assert old in whole
        path.write_text(whole.replace(old, new))
        with pytest.raises(UsageError, match=said):
            read(path)
    path.write_text(whole.replace(f"'{made.expires}'", made.expires.replace("-", "")))
    assert read(path) == [made]


def test_a_cell_that_vanished_is_missing_and_never_a_pass() -> None:
    other = COORDINATES | {"method": "base"}
    whole = [night(number, [entry({RATE: 100.0}), entry({RATE: 50.0}, step="s2", coordinates=other)])
             for number in range(9)]  # fmt: skip
    last = night(9, [entry({RATE: 100.0})])
    found = {one.place.method: one for one in cases_of([*whole, last])}
    assert found["base"].status == "missing" and "since night 10 (2026-01-10 03:00)" in found["base"].why
    assert exit_code(list(found.values())) == 3
    gone = acceptance_of(found["base"], "no longer of interest", date(2026, 1, 10))
    assert {one.place.method: one.status for one in cases_of([*whole, last], [gone])}["base"] == "accepted"
    crashed = entry({}, step="s2", coordinates=other, status="crashed", reason="SIGSEGV")
    broken = night(10, [entry({RATE: 100.0}), crashed])
    assert {one.place.method: one.status for one in cases_of([*whole, last, broken], [gone])}["base"] == "errored"


def test_a_step_that_failed_this_night_is_errored() -> None:
    nights = rates(*[100] * 9)
    broken = night(9, [entry({}, status="crashed", reason="killed by SIGSEGV")])
    found = case([*nights, broken])
    assert found.status == "errored" and "SIGSEGV" in found.why and exit_code([found]) == 3
    new = entry({}, status="timeout", reason="ran longer than 5 s", step="s9", coordinates=COORDINATES | {"seed": 9})
    cases = cases_of([*nights, night(9, [entry({RATE: 100.0}), new])])
    assert sorted(one.status for one in cases) == ["errored", "insufficient"]


def test_a_skipped_step_is_missing_with_its_reason() -> None:
    skipped = night(9, [entry({}, status="skipped", reason="there is no GPU")])
    found = case([*rates(*[100] * 9), skipped])
    assert found.status == "missing" and "no GPU" in found.why


def test_other_hard_facts_begin_a_new_series() -> None:
    before = rates(*[100] * 20)
    bigger = {"machines": {"h2": HARD | {"cores": 64}}}
    after = [night(20 + number, [entry({RATE: 30.0}, hard="h2")], **bigger) for number in range(10)]
    (found,) = cases_of([*before, *after])
    assert found.status == "pass" and found.before == 30.0
    assert len(stories([*before, *after])) == 2


def test_a_step_that_is_defined_anew_begins_anew() -> None:
    before = rates(*[100] * 20)
    after = [night(20 + number, [entry({RATE: 50.0}, step="s2")]) for number in range(9)]
    (found,) = cases_of([*before, *after])
    assert found.status == "pass" and found.before == 50.0


def test_changed_data_begins_a_new_series_and_nothing_is_missing() -> None:
    before = [night(number, [entry({RATE: 100.0}, determined={"data_fingerprint": "a"}), canary(0.01)])
              for number in range(20)]  # fmt: skip
    after = [night(20 + number, [entry({RATE: 50.0}, determined={"data_fingerprint": "b"})]) for number in range(20)]
    (found,) = cases_of([*before, *after])
    assert found.status == "pass" and found.before == 50.0


def test_a_night_without_its_last_canary_goes_on_with_the_same_series() -> None:
    told = entry({RATE: 100.0}, determined={"data_fingerprint": "a"})
    nights = [night(number, [canary(0.01), told, *([canary(0.01)] if number != 15 else [])]) for number in range(20)]
    (found,) = cases_of(nights)
    assert found.status == "pass" and len(stories(nights)[0].series.points) == 20


def test_two_steps_at_the_same_coordinates_are_two_series() -> None:
    """Two sweeps that differ in their budget alone."""
    nights = [night(number, [entry({RATE: 100 + number % 3}), entry({RATE: 50 + number % 3}, step="s2")])
              for number in range(20)]  # fmt: skip
    found = cases_of(nights)
    assert [one.status for one in found] == ["pass", "pass"] and len({one.id for one in found}) == 2
    assert sorted(one.before or 0 for one in found) == [51.0, 101.0]


def test_two_machines_in_one_store_do_not_mix() -> None:
    slow = {"machines": {"h2": HARD | {"cores": 1}}}
    nights = [night(number, [entry({RATE: 100.0})]) if number % 2 else
              night(number, [entry({RATE: 30.0}, hard="h2")], **slow) for number in range(60)]  # fmt: skip
    (found,) = cases_of(nights)
    assert found.status == "pass" and found.before == 100.0 and len(stories(nights)) == 2


def test_nights_of_an_unknown_machine_are_named_and_left_out() -> None:
    nights = [*rates(*[100] * 9), night(9, [entry({RATE: 1.0}, hard="")])]
    assert len(unknown_machines(nights)) == 1 and "say nothing of their machine" in unknown_machines(nights)[0]
    assert len(stories(nights)[0].series.points) == 9


def test_suspects_of_neighbouring_nights_are_named_with_their_night() -> None:
    nights = rates(*[100] * 20, *[92] * 8)
    nights = [dataclasses.replace(one, commit={"sha": "b" * 40, "dirty": False}) if number >= 21 else one
              for number, one in enumerate(nights)]  # fmt: skip
    (suspect,) = case(nights).suspects
    assert suspect == f"commit {'a' * 12} -> {'b' * 12} (night 22)"


def test_what_an_evaluation_repeats_and_how_far_a_training_went_is_not_watched() -> None:
    """A checkpoint's size is told by its making; divergence from the start is damage only where nothing learnt."""
    small = COORDINATES | {"method": "int8", "task": "perplexity"}
    scores = {LOSS: 20.0, "kl_divergence": 0.1, "checkpoint_bytes": 9.0}
    steps = [
        entry({RATE: 1.0, "checkpoint_bytes": 9.0}), entry(scores, operation="eval", step="s2"),
        entry(scores, operation="eval", step="s3", coordinates=small),
    ]  # fmt: skip
    found = {(one.place.method, one.place.operation, one.metric) for one in cases_of([night(0, steps)])}
    assert found == {
        ("lora", "train", RATE), ("lora", "train", "checkpoint_bytes"), ("lora", "eval", LOSS),
        ("int8", "eval", LOSS), ("int8", "eval", "kl_divergence"), ("int8", "eval", "checkpoint_bytes"),
    }  # fmt: skip


def test_no_nights_no_cases() -> None:
    assert cases_of([]) == [] and stories([]) == []
