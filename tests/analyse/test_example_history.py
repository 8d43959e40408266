"""The committed example history, judged night after night: what was put in is found, false alarms are counted."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.analyse.history import cases_of
from harness.results.nights import Night
from harness.results.shared import SharedStore

ROOT = Path(__file__).resolve().parents[2]
Alarm = tuple[str, str, str]
SLOW = ("tokens_per_second", "train", "lora(learning_rate=0.01)")
SLOW_WALL = ("wall_seconds", "train", "lora(learning_rate=0.01)")
WORSE = {
    ("perplexity", "perplexity(view=instructions)", "lora(learning_rate=0.01)"),
    ("train_loss_last", "train", "lora(learning_rate=0.01)"),
}


@pytest.fixture(scope="module")
def nights() -> list[Night]:
    return SharedStore(ROOT / "results").nights("nightly").nights[:61]


@pytest.fixture(scope="module")
def alarms(nights: list[Night]) -> dict[int, set[Alarm]]:
    """What was alarmed after each night, by its number."""
    return {
        number: {
            (case.metric, case.place.task or case.place.operation, str(case.place.method))
            for case in cases_of(nights[:number]) if case.status == "regression"
        }
        for number in range(1, len(nights) + 1)
    }  # fmt: skip


def test_the_slow_down_is_found_and_closes_when_it_is_mended(alarms: dict[int, set[Alarm]]) -> None:
    first = min(number for number, found in alarms.items() if SLOW in found)
    assert first == 31, "the seventh slow night"
    assert not any(SLOW in alarms[number] for number in range(34, 41))
    assert all(SLOW in alarms[number] for number in range(48, 62))


def test_its_night_and_its_commit_are_named(nights: list[Night]) -> None:
    (case,) = (one for one in cases_of(nights[:33]) if one.status == "regression")
    assert case.since == nights[24].name and case.suspects == ("commit 10949472e9d5 -> cace38749686",)


def test_the_loss_of_quality_is_found_in_its_first_night_and_closes(alarms: dict[int, set[Alarm]]) -> None:
    assert [number for number, found in alarms.items() if found & WORSE] == list(range(34, 41))
    assert all(found >= WORSE for number, found in alarms.items() if 34 <= number <= 40)


def test_the_false_alarms_are_those_that_are_told(alarms: dict[int, set[Alarm]]) -> None:
    true = {SLOW, SLOW_WALL, *WORSE}
    wrong = {(number, alarm) for number, found in alarms.items() for alarm in found - true}
    assert wrong == {(number, ("wall_seconds", "perplexity", "int4")) for number in range(58, 62)}
    early = {number for number in range(1, 62) if SLOW in alarms[number] and not (25 <= number <= 33 or number >= 48)}
    assert early == set(range(41, 48)), "the machine was slower before the hook came back"
    assert not any(alarms[number] for number in range(1, 25))
