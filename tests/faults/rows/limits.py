"""Steps that do not end by themselves: silent, chatty, deaf to SIGTERM, with a grandchild in a session of its own."""

from __future__ import annotations

from fakes.jobs import make_job

from faults import evidence, processes
from faults.tally import Tally, World, fault
from faults.told import Told

MUST = "ended within limit + 10 s, all descendants gone"
WALL, SILENCE = 0.8, 0.4


def _jobs(note: str) -> list[dict[str, object]]:
    return [
        make_job("silent", "hang", silence=SILENCE),
        make_job("chatty", "chatty_hang", wall=WALL, silence=SILENCE),
        make_job("deaf", "deaf", silence=SILENCE),
        make_job("grandchild", "deaf_hang", silence=SILENCE, path=note),
        make_job("good", "good"),
    ]


@fault("silent hang, chatty hang, SIGTERM ignored, grandchild with its own session", MUST, short=1, long=10)
def hangs(world: World, rounds: int) -> Tally:
    """Sweeps of one step of each kind and a good one; the short form waits less between TERM and KILL."""
    tally = Tally()
    waits = 0.5 if rounds == 1 else None
    longest = 0.0
    for _ in range(rounds):
        results, mark, told = world.new_folder(), processes.new_mark(), Told(world.new_folder() / "told")
        jobs = _jobs(str(results / "note"))
        child = world.zygote().start(
            "faults.acts:sweep", mark=mark, results=str(results), jobs=jobs, told=str(told.path), watch=mark,
            term_seconds=waits,
        )  # fmt: skip
        code = child.wait(120)
        ends = {event["step"]: event for event in told.of("StepFinished")}
        for name, limit in (("silent", SILENCE), ("chatty", WALL), ("deaf", SILENCE), ("grandchild", SILENCE)):
            with tally.round(name) as one:
                end = ends[name]
                longest = max(longest, end["seconds"] - limit)
                one.must(end["status"] == "timeout", f"recorded as {end['status']}: {end['reason']}")
                one.must(end["seconds"] <= limit + 10, f"ended after {end['seconds']:.1f} s")
                one.must(not end["left"], f"{len(end['left'])} descendants live on")
                one.must(code == 1, f"the launcher ended with {code}")
                one.must(ends["good"]["status"] == "done", "the sweep did not go on")
                evidence.must_be_intact(one, {}, results)
    tally.notes.append(f"at most {longest:.1f} s over the limit")
    return tally
