"""Ctrl-C, Ctrl-C twice and SIGTERM, through the command line: while a step runs, and at random moments of a sweep."""

from __future__ import annotations

import random
import shutil
import signal
import time
from pathlib import Path

from faults import evidence, processes, suites
from faults.children import COMMANDS, Child
from faults.tally import Round, Tally, World, fault

MUST = "current step recorded as interrupted; exit 130 / 143; resumable"
# What the shell says of a process that a signal ended before it could set a handler is the same number.
CODES = {"once": (130, -signal.SIGINT), "twice": (130, -signal.SIGINT), "term": (143, -signal.SIGTERM)}
QUICK = ["act=good", "act=family, amount=0.05", "act=large_part, amount=3000"]


@fault("Ctrl-C once and twice, SIGTERM, while a step runs", MUST, short=3, long=30)
def interrupted_steps(world: World, rounds: int) -> Tally:
    """The second Ctrl-C comes while a step that is deaf to SIGTERM is being ended, and must make that quicker."""
    tally = Tally()
    for number in range(rounds):
        how = ("once", "twice", "term")[number % 3]
        act = "act=deaf" if how == "twice" else "act=family, amount=600"
        folder, mark = world.new_folder(), processes.new_mark()
        suite = suites.write(folder, ["act=good", act])
        child = suites.run(world, folder, suite, "--json", mark=mark)
        _until_it_runs(child, folder / "results", wanted=2)
        before = evidence.snapshot(folder / "results")
        began = time.monotonic()
        with tally.round(how) as one:
            _send(child, how, 0.5)
            code = child.wait()
            seconds = time.monotonic() - began
            one.must(seconds < (4 if how == "twice" else 10), f"took {seconds:.1f} s to stop")
            one.must(code in CODES[how], f"ended with {code}: {evidence.brief(child.said())}")
            found = [record for record in evidence.records(folder / "results") if record["status"] != "done"]
            statuses = [record["status"] for record in found]
            one.must(statuses == ["interrupted"], f"what was not done is recorded as {statuses}")
            said = "SIGTERM" if how == "term" else "Ctrl-C"
            one.must(found and said in found[0]["reason"], "the record does not say what stopped it")
            _look(one, child, folder / "results", before, mark)
            suites.write(folder, ["act=good", "act=good, amount=0.01"])
            _resume(one, world, folder, {record["step"] for record in found})
        shutil.rmtree(folder)
    return tally


@fault("Ctrl-C once and twice, SIGTERM, at random moments", MUST, short=3, long=150)
def interrupted_anywhere(world: World, rounds: int) -> Tally:
    """From the start of the command to its end; a sweep that was done before the signal is no try."""
    tally, chance = Tally(), random.Random(world.seed)
    folder, _ = world.new_folder(), world.zygote(COMMANDS)
    began = time.monotonic()
    assert suites.run(world, folder, suites.write(folder, QUICK), "--json").wait() == 0
    length = time.monotonic() - began
    while tally.tried < rounds:
        how = chance.choice(("once", "twice", "term"))
        moment, gap = chance.uniform(0.05, length), chance.uniform(0.0, 0.1)
        folder, mark = world.new_folder(), processes.new_mark()
        suite = suites.write(folder, QUICK)
        child = suites.run(world, folder, suite, "--json", mark=mark)
        time.sleep(moment)
        before, one = evidence.snapshot(folder / "results"), Round()
        _send(child, how, gap)
        code = child.wait()
        one.must(code == 0 or code in CODES[how], f"ended with {code}: {evidence.brief(child.said())}")
        _look(one, child, folder / "results", before, mark)
        stopped = [record for record in evidence.records(folder / "results") if record["status"] != "done"]
        statuses = [record["status"] for record in stopped]
        one.must(statuses in ([], ["interrupted"]), f"what was not done is recorded as {statuses}")
        _resume(one, world, folder, set())
        if code != 0 or one.broken:
            tally.add(f"{how} after {moment:.3f} s", one)
        shutil.rmtree(folder)
    return tally


def _send(child: Child, how: str, gap: float) -> None:
    if how == "term":
        child.send(signal.SIGTERM)
        return
    child.send_group(signal.SIGINT)  # as a terminal does
    if how == "twice":
        time.sleep(gap)
        child.send_group(signal.SIGINT)


def _until_it_runs(child: Child, results: Path, wanted: int) -> None:
    """Until so many records are there and the next worker works."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not child.ended():
        done = len(evidence.snapshot(results))
        logs = list((results / ".cache" / "jobs").glob("*.log"))
        if done >= wanted and len([log for log in logs if log.name != "server.log"]) > wanted:
            time.sleep(0.2)
            return
        time.sleep(0.01)
    raise TimeoutError(f"the step never ran: {evidence.brief(child.said())}")


def _look(one: Round, child: Child, results: Path, before: dict[Path, bytes], mark: str) -> None:
    one.must("Traceback" not in child.said(), f"a traceback: {evidence.brief(child.said())}")
    evidence.must_be_intact(one, before, results)
    one.must(not processes.seconds_until_gone(mark, [child.pid])[1], "processes live 10 s later")
    logs = {path.stem for path in (results / ".cache" / "jobs").glob("*.*.log")}
    unrecorded = logs - {path.stem for path in evidence.snapshot(results)}
    one.must(not unrecorded, f"steps ran and have no record: {sorted(unrecorded)}")


def _resume(one: Round, world: World, folder: Path, replaced: set[str]) -> None:
    """The same command does what is left and nothing else; ``replaced`` are steps that the suite has no more."""
    results = folder / "results"
    kept, done = evidence.snapshot(results), evidence.done(results)
    rest = suites.run(world, folder, folder / "fakes.yaml", "--json")
    one.must(rest.wait() == 0, f"the same command then ended with {rest.wait()}: {evidence.brief(rest.said())}")
    evidence.must_be_intact(one, kept, results)
    evidence.must_be_complete(one, results, suites.planned(results))
    fresh = {path.name.split(".")[0] for path in evidence.snapshot(results) if path not in kept}
    one.must(not fresh & set(done), f"steps that were done ran again: {sorted(fresh & set(done))}")
    one.must(not fresh & replaced, "a step that is no more in the suite ran")
