"""Steps that other work disturbed are measured again, a few times at most, and keep their flag where nothing helps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.cli import running
from harness.cli.running import How, run_parts
from harness.plan.suite import load
from harness.results.record import blank
from harness.results.store import Store
from harness.run.events import Outcome

SUITE = """
name: small
method: [base, int8]
tasks: [perplexity(windows=2)]
hardware: {device: cpu, threads: 1}
"""


@pytest.fixture(autouse=True)
def kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-in makes no artefacts; where the cache has lost one is asked for in a test of its own."""
    monkeypatch.setattr(Store, "has_artefact", lambda self, step: True)
    monkeypatch.setattr(Store, "has_checkpoint", lambda self, step: True)


class Machine:
    """In the launcher's place: writes records, of which the first ``disturbed[step]`` of a step are disturbed."""

    def __init__(self, disturbed: Callable[[str], int]) -> None:
        self.disturbed = disturbed
        self.rounds: list[list[str]] = []

    def run(self, jobs: Any, store: Store, **options: Any) -> Outcome:
        outcome, todo = Outcome(), [job for job in jobs if "state" not in job]
        for job in todo:
            attempt = store.next_attempt(job["step"])
            record = blank({**job, "attempt": attempt, "context": {"installation": store.installation}}, "done")
            outcome.statuses["done"] += 1
            if attempt <= self.disturbed(job["step"]):
                record["flags"] = ["contention: other processes used 50% of the cores"]
                outcome.disturbed.append(job["step"])
            store.write_record(record)
        self.rounds.append([job["step"] for job in todo])
        return outcome


@pytest.fixture
def run_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Outcome, Machine]]:
    (tmp_path / "small.yaml").write_text(SUITE)

    def run(disturbed: Callable[[str], int], remeasure: int = 3) -> tuple[Outcome, Machine]:
        machine = Machine(disturbed)
        monkeypatch.setattr(running, "run", machine.run)
        monkeypatch.setattr(running, "build_data", lambda plan, store: None)
        how = How(remeasure=remeasure, as_json=True, told=False)
        return run_parts(load(tmp_path / "small.yaml"), Store(tmp_path / "results"), how), machine

    return run


def test_a_quiet_machine_measures_once(run_on: Any) -> None:
    outcome, machine = run_on(lambda step: 0)
    assert len(machine.rounds) == 1
    assert outcome.disturbed == []


def test_only_what_was_disturbed_is_measured_again_until_it_is_not(run_on: Any) -> None:
    steps: list[str] = []

    def disturbed(step: str) -> int:
        if step not in steps:
            steps.append(step)
        return {0: 2, 1: 1}.get(steps.index(step), 0)

    outcome, machine = run_on(disturbed)
    assert [len(one) for one in machine.rounds] == [len(steps), 2, 1]
    assert outcome.disturbed == []


def test_a_round_that_cures_nothing_is_the_last(run_on: Any) -> None:
    outcome, machine = run_on(lambda step: 9)
    assert len(machine.rounds) == 2
    assert outcome.disturbed == machine.rounds[0]


@pytest.mark.parametrize(("remeasure", "rounds"), [(0, 1), (1, 2), (2, 3)])
def test_never_more_than_was_asked_for(run_on: Any, remeasure: int, rounds: int) -> None:
    """Every round cures one step, so that only the limit ends it."""
    seen: list[str] = []

    def disturbed(step: str) -> int:
        if step not in seen:
            seen.append(step)
        return 1 + seen.index(step)

    _, machine = run_on(disturbed, remeasure)
    assert len(machine.rounds) == rounds


def test_what_a_step_opens_must_still_be_in_the_cache(run_on: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Store, "has_artefact", lambda self, step: False)
    outcome, machine = run_on(lambda step: 9)
    assert 0 < len(machine.rounds[1]) < len(machine.rounds[0])
    assert set(outcome.disturbed) == set(machine.rounds[0])


def test_the_flag_of_what_stays_disturbed_is_kept(run_on: Any, tmp_path: Path) -> None:
    run_on(lambda step: 9, 1)
    records = Store(tmp_path / "results").records("small").records
    assert all(record["flags"] for record in records)
