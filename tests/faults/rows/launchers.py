"""Several launchers on one results folder at the same time, some of which are killed."""

from __future__ import annotations

import itertools
import random
import shutil
import signal
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from fakes.jobs import make_job

from faults import evidence, processes
from faults.tally import Round, Tally, World, fault

LAUNCHERS = 8
MUST = "each step once, none lost, never two at a time on this machine, the claims of killed ones taken over"
# Wall clock of a record's beginning to the millisecond, monotonic seconds of its length: how far both may be apart.
CLOCKS_SECONDS = 0.05


@fault("8 launchers on one results folder, one of them killed", MUST, short=1, long=20)
def eight_launchers(world: World, rounds: int) -> Tally:
    """All begin at once; the steps are theirs to share out; one is killed while it measures."""
    tally, chance = Tally(), random.Random(world.seed)
    for _ in range(rounds):
        results, note, mark = world.new_folder(), world.new_folder() / "note", processes.new_mark()
        count = 12 if rounds == 1 else 40
        jobs = [make_job(f"s{number:02d}", "stamp", amount=0.05, path=str(note)) for number in range(count)]
        jobs += [make_job(f"t{number:02d}", "good", input=f"s{number:02d}") for number in range(count // 4)]
        children = [
            world.zygote().start("faults.acts:sweep", mark=mark, results=str(results), jobs=jobs)
            for _ in range(LAUNCHERS)
        ]
        with tally.round(f"{count} steps") as one:
            victim = _measuring(children, note, chance)
            before = evidence.snapshot(results)
            victim.send(signal.SIGKILL)
            codes = [child.wait(180) for child in children if child is not victim]
            one.must(victim.wait() == -signal.SIGKILL, "none was killed while it measured")
            one.must(set(codes) == {0}, f"the others ended with {codes}")
            evidence.must_be_intact(one, before, results)
            evidence.must_be_complete(one, results, [job["step"] for job in jobs])
            found = evidence.records(results)
            one.must(len(found) == len(jobs), f"{len(found)} records of {len(jobs)} steps")
            _never_two_at_a_time(one, found, note)
            one.must(not _claims(results), f"claims are left: {_claims(results)}")
            one.must(not processes.seconds_until_gone(mark)[1], "processes live 10 s later")
        shutil.rmtree(results)
    return tally


def _measuring(children: list[Any], note: Path, chance: random.Random) -> Any:
    """The launcher whose worker has begun a step after some others."""
    wanted = chance.randrange(2, 6)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        lines = note.read_text().splitlines() if note.exists() else []
        begun = [int(line.split()[1]) for line in lines if line.startswith("begin")]
        if len(begun) >= wanted:
            for child in children:
                for server in processes.children(child.pid):
                    if begun[-1] in processes.children(server):
                        return child
        time.sleep(0.002)
    raise TimeoutError("no launcher measured anything within 60 s")


def _never_two_at_a_time(one: Round, found: list[dict[str, Any]], note: Path) -> None:
    spans = sorted(_span(record) for record in found)
    over = [f"{b[2]} began {a[1] - b[0]:.3f} s before {a[2]} ended" for a, b in itertools.pairwise(spans)
            if b[0] < a[1] - CLOCKS_SECONDS]  # fmt: skip
    one.must(not over, f"records overlap: {over}")
    began: dict[str, float] = {}
    stamps = []
    for line in note.read_text().splitlines():
        kind, pid, at = line.split()
        if kind == "begin":
            began[pid] = float(at)
        else:
            stamps.append((began[pid], float(at)))
    stamps.sort()
    both = [a for a, b in itertools.pairwise(stamps) if b[0] < a[1]]
    one.must(not both, f"{len(both)} steps worked while another did")


def _span(record: dict[str, Any]) -> tuple[float, float, str]:
    began = datetime.fromisoformat(record["started"]).timestamp()
    return began, began + record["wall_seconds"], record["record"]


def _claims(results: Path) -> list[str]:
    return sorted(path.name for path in (results / ".cache" / "claims").glob("*.json"))


@fault("a claim of a launcher that is gone, in every way that it can be told", MUST, short=1, long=1)
def stale_claims(world: World, rounds: int) -> Tally:
    """Dead, another process of the same id, before the last boot, damaged: all are taken over; a live one is not."""
    import json
    import os

    from harness.run.claims import STALE_SECONDS, Claims, Holder

    tally, me = Tally(), Holder.this()
    dead = world.zygote().start("faults.acts:sweep", results=str(world.new_folder()), jobs=[])
    dead.wait()
    live = vars(Holder(me.boot, me.namespace, os.getppid(), _started(os.getppid())))
    cases: dict[str, tuple[dict[str, Any] | str, float, bool]] = {
        "its process has ended": (live | {"pid": dead.pid, "started": 1}, 0.0, True),
        "another process has its id": (live | {"started": live["started"] - 1}, 0.0, True),
        "damaged": ('{"boot": "', 0.0, True),
        "empty": ("", 0.0, True),
        "of a machine that is silent for long": (live | {"boot": "another"}, STALE_SECONDS + 60, True),
        "of a container that is silent for long": (live | {"namespace": "another"}, STALE_SECONDS + 60, True),
        "of a machine that was heard": (live | {"boot": "another"}, STALE_SECONDS / 2, False),
        "of a launcher that lives here": (live, 10 * STALE_SECONDS, False),
    }
    for what, (content, age, free) in cases.items():
        with tally.round(what) as one:
            claims = Claims(world.new_folder())
            path = claims.folder / "a.json"
            path.write_text(content if isinstance(content, str) else json.dumps(content))
            os.utime(path, (time.time() - age, time.time() - age))
            one.must(claims.take("a") == free, "it was not taken over" if free else "it was taken over")
    return tally


def _started(pid: int) -> int:
    from harness.run.processes import started_at

    return started_at(pid)
