"""A suite that was edited between a run that was stopped and its continuation."""

from __future__ import annotations

import itertools
import shutil
import signal
import time
from pathlib import Path
from typing import Any

from faults import evidence, processes, suites
from faults.tally import Tally, World, fault
from harness.results import plan_file

METHODS = ["act=good", "act=large_part, amount=3000", "act=family, amount=600"]
CHANGED = "is not what it was"
# What is edited: the new methods and settings, and what the output must then name.
EDITS: dict[str, tuple[list[str], dict[str, Any], list[str]]] = {
    "a parameter": (["act=good", "act=large_part, amount=4000"], {}, ["amount=4000", "amount=3000"]),
    "a method more": (["act=good", "act=large_part, amount=3000", "act=many_items, amount=9"], {}, ["act=many_items"]),
    "a method less": (["act=good"], {}, ["act=large_part"]),
    "the budget": (["act=good", "act=large_part, amount=3000"], {"steps": 3}, ["budget.steps 2 -> 3"]),
    "a task less": (["act=good", "act=large_part, amount=3000"], {"tasks": ()}, ["count"]),
}  # fmt: skip


@fault("suite changed between run and resume", "what changed is named; nothing mixed up", short=2, long=24)
def changed_suites(world: World, rounds: int) -> Tally:
    """The first run is killed at its third method; the edited suite goes on on the same results folder."""
    tally = Tally()
    for what in itertools.islice(itertools.cycle(EDITS), rounds):
        methods, settings, named = EDITS[what]
        folder, results = _begun(world)
        with tally.round(what) as one:
            before, was = evidence.snapshot(results), suites.planned(results)
            suite = suites.write(folder, methods, **settings)
            child = suites.run(world, folder, suite)
            one.must(child.wait() == 0, f"ended with {child.wait()}: {evidence.brief(child.said())}")
            said = child.said()
            for name in named:
                one.must(name in said, f"'{name}' is not named: {said[:600]}")
            _judge(one, results, before)
            one.must(what == "the budget" or set(was) & set(suites.planned(results)), "the suites share no step")
            again = suites.run(world, folder, suite)
            one.must(again.wait() == 0, f"run again it ended with {again.wait()}: {evidence.brief(again.said())}")
            one.must(CHANGED in said and CHANGED not in again.said(), "a change is told where there is none")
        shutil.rmtree(folder)
    return tally


def _begun(world: World) -> tuple[Path, Path]:
    folder, mark = world.new_folder(), processes.new_mark()
    results = folder / "results"
    child = suites.run(world, folder, suites.write(folder, METHODS), mark=mark)
    deadline = time.monotonic() + 60
    while len(evidence.snapshot(results)) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.1)
    child.send(signal.SIGKILL)
    child.wait()
    processes.seconds_until_gone(mark)
    return folder, results


def _judge(one: Any, results: Path, before: dict[Path, bytes]) -> None:
    """Earlier records stay as they are, what is the same is not measured again, and every step has one done record."""
    evidence.must_be_intact(one, before, results)
    now = suites.planned(results)
    evidence.must_be_complete(one, results, now)
    fresh = {path.name.split(".")[0] for path in evidence.snapshot(results) if path not in before}
    kept = {path.name.split(".")[0] for path in before}
    one.must(fresh == set(now) - kept, f"measured anew: {sorted(fresh)}, new in the plan: {sorted(set(now) - kept)}")
    (plan,) = results.glob("fakes/*/plan.json")
    cells = {step for cell in plan_file.read(plan)["cells"] for step in cell["steps"]}
    one.must(cells <= set(now), "a cell of the plan names steps that it does not have")
