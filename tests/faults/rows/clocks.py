"""The time of day jumps while a step runs: durations, limits and the order of attempts must not follow it."""

from __future__ import annotations

import itertools
import time
from pathlib import Path
from typing import Any

from fakes.jobs import make_job

from faults import evidence
from faults.inject import clock
from faults.tally import Tally, World, fault
from faults.told import Told
from harness.results.store import Store

MUST = "durations from the monotonic clock; order kept"
DAY = 86_400.0
# Central European time without the system's tables: an hour back at 01:00 UTC on the last Sunday of October.
ZONE = "CET-1CEST,M3.5.0,M10.5.0/3"
AUTUMN, SPRING = 1_792_890_000.0, 1_774_746_000.0  # 2026-10-25 and 2026-03-29, both at 01:00 UTC
WORKS, SILENCE = 1.2, 0.5
SLACK_SECONDS = 1.0
JUMPS = {"a day forward": DAY, "a day back": -DAY, "an hour forward": 3600.0, "a minute back": -60.0}


@fault("clock jumps by a day, forward and back, in the middle of a step", MUST, short=2, long=20)
def clock_jumps(world: World, rounds: int) -> Tally:
    """A step that shows progress outlives its limit on silence, one that hangs does not, a second attempt is second."""
    tally = Tally()
    for what in itertools.islice(itertools.cycle(JUMPS), rounds):
        with tally.round(what) as one:
            results, offset = world.new_folder(), world.new_folder() / "offset"
            _set(offset, 0.0)
            jobs = [
                make_job("progress", "progress_then_end", amount=WORKS, silence=SILENCE),
                make_job("hang", "hang", silence=SILENCE), make_job("again", "crash"),
            ]  # fmt: skip
            jumps = {"progress": (0.4, JUMPS[what]), "hang": (0.1, 2 * JUMPS[what])}
            found, seconds = _sweep(world, results, offset, jobs, jumps)
            one.must(found["progress"]["status"] == "done", f"progress: {found['progress']['reason']}")
            wall = found["progress"]["wall_seconds"]
            one.must(WORKS <= wall <= WORKS + SLACK_SECONDS, f"{WORKS} s of work took {wall:.3f} s")
            spans = sum(span["seconds"] for span in found["progress"]["spans"])
            one.must(abs(spans - wall) < 0.1, f"spans are {spans:.3f} s of {wall:.3f} s")
            one.must(found["hang"]["status"] == "timeout", f"hang: {found['hang']['status']}")
            one.must(seconds["hang"] <= SILENCE + 10, f"the hang ended after {seconds['hang']:.1f} s")
            one.must(max(seconds.values()) < 15, f"steps took {seconds}")
            _set(offset, 3 * JUMPS[what])
            _sweep(world, results, offset, [make_job("again", "good")], {})
            latest = Store(results).latest("again")
            one.must(latest and (latest["attempt"], latest["status"]) == (2, "done"), "the second attempt is not last")
            _same_order_everywhere(one, results)
    return tally


@fault("daylight saving, both ways, in the middle of a sweep", MUST, short=1, long=10)
def daylight_saving(world: World, rounds: int) -> Tally:
    """The clock of the sweep passes the hour at which local time jumps; time stamps are UTC and go on."""
    tally = Tally()
    for moment in itertools.islice(itertools.cycle((AUTUMN, SPRING)), rounds):
        with tally.round("autumn" if moment == AUTUMN else "spring") as one:
            results, offset = world.new_folder(), world.new_folder() / "offset"
            _set(offset, moment - time.time() - 1.0)
            jobs = [make_job(f"s{number}", "progress_then_end", amount=0.4, silence=SILENCE) for number in range(4)]
            found, _ = _sweep(world, results, offset, jobs, {}, TZ=ZONE)
            starts = [found[f"s{number}"]["started"] for number in range(4)]
            one.must(starts == sorted(starts), f"steps began at {starts}")
            hours = {start[11:13] for start in starts}
            one.must(hours <= {"00", "01"}, f"time stamps are not UTC: {starts}")
            for record in found.values():
                wall = record["wall_seconds"]
                one.must(0.4 <= wall <= 0.4 + SLACK_SECONDS, f"0.4 s of work took {wall:.3f} s: {record['reason']}")
    return tally


def _sweep(
    world: World, results: Path, offset: Path, jobs: list[dict[str, Any]], jumps: dict[str, tuple[float, float]],
    **environ: str,
) -> tuple[dict[str, Any], dict[str, float]]:  # fmt: skip
    """Run jobs; in the middle of a step set its offset. Return its latest records and the steps' true seconds."""
    told = Told(world.new_folder() / "told")
    child = world.zygote().start(
        "faults.acts:sweep", results=str(results), jobs=jobs, told=str(told.path),
        environ={clock.NAME: str(offset), **environ},
    )  # fmt: skip
    for step, (after, jump) in jumps.items():
        told.wait_for(lambda event, step=step: event.get("step") == step, child.runs, 30)
        time.sleep(after)
        _set(offset, jump)
    code = child.wait(90)
    assert code in (0, 1), child.said()
    starts = {event["step"]: event["at"] for event in told.of("StepStarted")}
    seconds = {event["step"]: event["at"] - starts[event["step"]] for event in told.of("StepFinished")}
    return {record["step"]: record for record in evidence.records(results)}, seconds


def _set(offset: Path, seconds: float) -> None:
    part = offset.with_suffix(".part")
    part.write_text(str(seconds))
    part.replace(offset)


def _same_order_everywhere(one: Any, results: Path) -> None:
    """What a night and a report take for the latest attempt is the second."""
    from harness.analyse.cells import deciding
    from harness.results.nights import night_of
    from harness.results.rows import load

    (entry,) = [step for step in night_of(evidence.records(results)).steps if step["step"] == "again"]
    one.must(entry["status"] == "done", "a night keeps the first attempt")
    frame = deciding(load(results, evidence.SUITE))
    chosen = set(frame.loc[frame["step"] == "again", "record"].astype(str))
    one.must(chosen == {"again.2"}, f"the report takes {chosen}")
