"""The agenda: what is ready, what is skipped because of what ended badly, and what comes back."""

from __future__ import annotations

from typing import Any

from harness.run.agenda import Agenda, needs


def job(step: str, **more: Any) -> dict[str, Any]:
    return {"step": step, "operation": "train", "coordinates": {"method": step, "task": None}, **more}


def test_a_job_waits_for_every_step_that_it_opens() -> None:
    agenda = Agenda([job("a"), job("b"), job("c", input="a", inputs={"teacher": "b"}), job("d", reference="c")])
    first, second = agenda.take(), agenda.take()
    assert (first["step"], second["step"]) == ("a", "b")  # type: ignore[index]
    assert agenda.take() is None
    assert agenda
    agenda.settle(first, "done", None)  # type: ignore[arg-type]
    assert agenda.take() is None
    agenda.settle(second, "done", None)  # type: ignore[arg-type]
    third = agenda.take()
    assert third is not None
    assert third["step"] == "c"
    assert agenda.take() is None
    assert not agenda.reason_to_skip(third)
    assert agenda.settled == 2


def test_what_is_done_already_holds_nothing_up() -> None:
    agenda = Agenda([job("a", state="done"), job("b", input="a"), job("c", input="elsewhere")])
    assert agenda.already == 1
    assert agenda.total == 2
    assert [one["step"] for one in (agenda.take(), agenda.take()) if one] == ["b", "c"]
    assert not agenda


def test_what_a_failure_makes_impossible_says_so_down_the_chain() -> None:
    agenda = Agenda([job("a"), job("b", input="a"), job("c", input="b")])
    for step, status in (("a", "crashed"), ("b", "skipped")):
        taken = agenda.take()
        assert taken is not None
        assert taken["step"] == step
        agenda.settle(taken, status, agenda.reason_to_skip(taken) or "a bug")
    last = agenda.take()
    assert last is not None
    assert agenda.reason_to_skip(last) == "input b train skipped: input a train crashed: a bug"


def test_a_planned_skip_keeps_its_reason_and_counts_as_nothing_to_run() -> None:
    agenda = Agenda([job("a", state="skipped", reason="no GPU"), job("b")])
    assert [one["step"] for one in agenda.runnable] == ["b"]
    taken = agenda.take()
    assert taken is not None
    assert agenda.reason_to_skip(taken) == "no GPU"


def test_a_step_that_was_lost_comes_first_again() -> None:
    agenda = Agenda([job("a"), job("b"), job("c", input="a")])
    lost = agenda.take()
    assert lost is not None
    agenda.give_back(lost)
    again = agenda.take()
    assert again is not None
    assert again["step"] == "a"
    assert agenda.settled == 0


def test_a_job_that_is_not_free_is_left_for_later() -> None:
    agenda = Agenda([job("a"), job("b")])
    taken = agenda.take(lambda one: one["step"] != "a")
    assert taken is not None
    assert taken["step"] == "b"
    assert agenda.take(lambda one: False) is None
    assert [one["step"] for one in agenda.runnable] == ["a"]


def test_what_is_still_to_be_opened_is_known() -> None:
    agenda = Agenda([job("a"), job("b", input="a"), job("c", inputs={"teacher": "b"})])
    assert agenda.needed() == {"a", "b"}
    for _ in range(2):
        taken = agenda.take()
        assert taken is not None
        agenda.settle(taken, "done", None)
    assert agenda.needed() == {"b"}
    assert agenda.take() is not None
    assert agenda.needed() == {"b"}  # it runs


def test_needs_are_named_by_what_they_are() -> None:
    assert needs(job("x", input="a", reference=None, inputs={"teacher": "b"})) == {"input": "a", "teacher": "b"}
