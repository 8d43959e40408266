"""SIGKILL of the launcher, of workers and of the server between them, at random moments of real sweeps."""

from __future__ import annotations

import random
import shutil
import signal
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fakes.jobs import make_eval, make_job

from faults import evidence, processes
from faults.children import Child
from faults.tally import Round, Tally, World, fault
from faults.told import Event, Told

MUST = (
    "no finished record lost, none corrupt accepted, no process alive 10 s later, resume runs only what is unfinished"
)


def steps(times: int = 1) -> list[dict[str, Any]]:
    """A small sweep of everything that writes: checkpoints, an artefact, a long record, a step with a grandchild."""
    return [
        job
        for number in range(times)
        for job in (
            make_job(f"a{number}", "large_part", amount=1 << 20),
            make_eval(f"b{number}", input=f"a{number}", keeps_artefact=True),
            make_job(f"c{number}", "family", amount=0.05),
            make_eval(f"d{number}", reference=f"b{number}"),
            make_job(f"e{number}", "many_items", amount=3000),
            make_job(f"f{number}", "good", amount=0.02),
        )
    ]


SOME, MANY = 1, 4  # sweeps of launchers that are killed are short, those with killed workers long


@fault("SIGKILL of the launcher at random moments", MUST, short=8, long=1000)
def launcher_killed(world: World, rounds: int) -> Tally:
    """Sweep after sweep on one folder is killed until nothing is left to do; then a new folder."""
    tally, chance = Tally(), random.Random(world.seed)
    length = _length(world)
    results, waits = world.new_folder(), []
    while tally.tried < rounds:
        left = len(steps(SOME)) - len(evidence.done(results))
        if not left:
            shutil.rmtree(results)
            results = world.new_folder()
            continue
        moment = chance.uniform(0, length[0] + left * length[1])
        waits.append(_kill_one(world, tally, results, moment))
    tally.notes.append(f"all processes were gone after at most {max(waits):.2f} s")
    return tally


def _length(world: World) -> tuple[float, float]:
    """Seconds until the first step starts, and seconds per step, of a sweep that nobody kills."""
    results, told, zygote = world.new_folder(), Told(world.new_folder() / "told"), world.zygote()
    began = time.monotonic()
    child = zygote.start("faults.acts:sweep", results=str(results), jobs=steps(), told=str(told.path))
    assert child.wait() == 0, child.said()
    first = told.of("StepStarted")[0]["at"] - began
    return first, (told.events[-1]["at"] - began - first) / len(steps())


def _kill_one(world: World, tally: Tally, results: Path, moment: float) -> float:
    """Start a sweep, kill it after ``moment`` seconds, and look; one that has ended before is no try."""
    mark, told = processes.new_mark(), Told(world.new_folder() / "told")
    finished = evidence.done(results)
    child = world.zygote().start(
        "faults.acts:sweep", mark=mark, results=str(results), jobs=steps(), told=str(told.path)
    )
    time.sleep(moment)
    before = evidence.snapshot(results)
    child.send(signal.SIGKILL)
    killed = child.wait() == -signal.SIGKILL
    waited, left = processes.seconds_until_gone(mark, [child.pid])
    one = Round()
    _judge(one, results, before, set(finished), told)
    one.must(not left, f"{len(left)} processes live after {waited:.0f} s")
    one.must(killed or child.wait() == 0, f"ended with {child.wait()}: {evidence.brief(child.said())}")
    if killed or one.broken:
        tally.add(f"after {moment:.3f} s", one)
    return waited


def _judge(one: Round, results: Path, before: dict[Path, bytes], finished: set[str], told: Told) -> None:
    evidence.must_be_intact(one, before, results)
    again = finished & set(told.started())
    one.must(not again, f"steps that were done ran again: {sorted(again)}")
    counts = evidence.done(results)
    twice = [step for step, count in counts.items() if count > 1]
    one.must(not twice, f"steps have two done records: {twice}")
    lost = finished - set(counts)
    one.must(not lost, f"steps are done no more: {sorted(lost)}")


@fault("SIGKILL of workers at random moments", MUST, short=12, long=1000)
def worker_killed(world: World, rounds: int) -> Tally:
    """Every step's worker of a sweep is killed at a random moment of its life, and its next attempt too, till done."""
    tally, chance = Tally(), random.Random(world.seed + 1)
    lives, late = _lives(world), []
    while tally.tried < rounds:
        results = world.new_folder()
        while len(evidence.done(results)) < len(steps(MANY)) and tally.tried < rounds:
            late += _kill_workers(world, tally, results, chance, lives, rounds)
        shutil.rmtree(results)
    if late:
        tally.notes.append(f"the launcher went on {statistics.median(late):.2f} s after a kill")
    return tally


def _kill_workers(
    world: World, tally: Tally, results: Path, chance: random.Random, lives: dict[str, float], rounds: int
) -> list[float]:
    """One sweep with its workers killed; return how long the launcher took to see each."""
    mark, told = processes.new_mark(), Told(world.new_folder() / "told")
    finished, before = set(evidence.done(results)), evidence.snapshot(results)
    child = world.zygote().start(
        "faults.acts:sweep", mark=mark, results=str(results), jobs=steps(MANY), told=str(told.path), watch=mark
    )
    late = []
    while (step := told.wait_for(_is("StepStarted"), child.runs, 30)) and tally.tried < rounds:
        worker = _worker(child, told)
        moment = chance.uniform(0, lives[step["step"][0]])
        time.sleep(moment)
        if worker is None or told.look() or not processes.alive(worker):
            continue  # it had ended before
        began = time.monotonic()
        child.zygote.kill(worker)
        with tally.round(f"step {step['step']} after {moment:.3f} s") as one:
            end = told.wait_for(_is("StepFinished"), child.runs, 30)
            one.must(end is not None, "the launcher did not go on")
            if end is not None:
                late.append(time.monotonic() - began)
                one.must(end["status"] in ("crashed", "done"), f"recorded as {end['status']}: {end['reason']}")
                one.must(end["status"] == "done" or "SIGKILL" in end["reason"], f"said {end['reason']}")
                one.must(not end["left"], f"{len(end['left'])} processes of the step live on")
                evidence.must_be_intact(one, before, results)
            before = evidence.snapshot(results)
    code = child.wait()
    problem = Round()
    _judge(problem, results, before, finished, told)
    problem.must(code in (0, 1), f"the launcher ended with {code}: {evidence.brief(child.said())}")
    problem.must(not processes.seconds_until_gone(mark)[1], "processes live 10 s after the sweep")
    if problem.broken:
        tally.add("after a sweep with killed workers", problem)
    return late


def _lives(world: World) -> dict[str, float]:
    """Seconds that each step's worker lives where nobody kills it."""
    results = world.new_folder()
    child = world.zygote().start("faults.acts:sweep", results=str(results), jobs=steps())
    assert child.wait() == 0, child.said()
    return {record["step"][0]: record["wall_seconds"] for record in evidence.records(results)}


def _worker(child: Child, told: Told) -> int | None:
    """The worker of the step that was started, as soon as there is one; None where it has ended already."""
    while not told.look() and not child.ended():
        workers = [pid for server in processes.children(child.pid) for pid in processes.children(server)]
        if workers:
            return workers[0]
        time.sleep(0.001)
    return None


def _is(kind: str) -> Callable[[Event], bool]:
    return lambda event: bool(event["event"] == kind)


@fault("SIGKILL of the server that forks the workers", MUST, short=2, long=100)
def server_killed(world: World, rounds: int) -> Tally:
    """The step that ran is recorded as crashed with all that it left ended; the next one gets a new server."""
    tally, chance = Tally(), random.Random(world.seed + 2)
    while tally.tried < rounds:
        results, mark, told = world.new_folder(), processes.new_mark(), Told(world.new_folder() / "told")
        jobs = [make_job("a", "good"), make_job("b", "family", amount=600), make_job("c", "good")]
        child = world.zygote().start(
            "faults.acts:sweep", mark=mark, results=str(results), jobs=jobs, told=str(told.path)
        )
        left: set[int] = set()
        with tally.round("while a step with a grandchild ran") as one:
            told.wait_for(lambda event: event.get("step") == "b", child.runs, 30)
            time.sleep(chance.uniform(0, 0.3))
            (server,) = processes.children(child.pid)
            child.zygote.kill(server)
            code = child.wait()
            found = {record["step"]: record["status"] for record in evidence.records(results)}
            one.must(found == {"a": "done", "b": "crashed", "c": "done"}, f"recorded as {found}")
            one.must(code == 1, f"ended with {code}: {evidence.brief(child.said())}")
            _, left = processes.seconds_until_gone(mark)
            one.must(not left, f"{len(left)} processes live 10 s later")
            evidence.must_be_intact(one, {}, results)
        for pid in left:
            child.zygote.kill(pid)
        shutil.rmtree(results)
    return tally
