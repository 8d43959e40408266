"""What changed in a suite since its last run is named: what came, what went, and why the rest is measured anew."""

from __future__ import annotations

from typing import Any

from harness.results.changed import changes


def job(step: str, method: str = "lora", **more: Any) -> dict[str, Any]:
    coordinates = {"method": method, "stage": method, "task": None, "model": "m", "data": "d"}
    return {"step": step, "operation": "train", "coordinates": coordinates, **more}


def plan(*steps: dict[str, Any]) -> dict[str, Any]:
    return {"steps": [{"id": one["step"], **one} for one in steps]}


def test_the_same_suite_says_nothing() -> None:
    steps = [job("1"), job("2", "dpo")]
    assert changes(plan(*steps), steps, lambda step: None) == []
    assert changes({}, [], lambda step: None) == []


def test_what_came_and_went_is_named() -> None:
    found = changes(plan(job("1"), job("2", "dpo")), [job("1"), job("3", "ppo"), job("4", "gptq")], lambda step: None)
    assert found == ["2 steps are new: gptq, ppo", "1 steps are gone: dpo"]


def test_what_makes_a_step_another_one_is_named_with_both_values() -> None:
    then = job("1", budget={"steps": 60, "batch_size": 8}, data={"kind": "source", "fingerprint": "a" * 64})
    now = job("2", budget={"steps": 80, "batch_size": 8}, data={"kind": "source", "fingerprint": "b" * 64})
    (line,) = changes(plan(then), [now], {"1": then}.get)
    assert line.startswith("1 steps are measured anew")
    assert "budget.steps 60 -> 80 (1 steps)" in line
    assert f"data.fingerprint {'a' * 12}… -> {'b' * 12}… (1 steps)" in line
    assert "batch_size" not in line


def test_a_step_that_begins_with_a_changed_one_or_left_no_record_is_counted() -> None:
    then, now = job("1", input="a"), job("2", input="b")
    (line,) = changes(plan(then), [now], {"1": then}.get)
    assert line.endswith("what they measure has changed: what they begin with")
    assert changes(plan(then), [now], lambda step: None) == [line]


def test_many_differences_are_cut() -> None:
    then = job("1", budget={f"field{number}": 1 for number in range(9)})
    now = job("2", budget={f"field{number}": 2 for number in range(9)})
    (line,) = changes(plan(then), [now], {"1": then}.get)
    assert line.count(" -> ") == 4
    assert line.endswith("5 more")
