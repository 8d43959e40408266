"""What grows with the length of a sweep or of an output must not be the launcher."""

from __future__ import annotations

import time

from fakes.jobs import make_job

from faults import evidence, processes
from faults.children import COMMANDS
from faults.tally import Tally, World, fault
from faults.told import Told

GROWTH = 0.05
MIB = 2**20
LOG_BYTES = 5 * MIB  # of a log that is kept: what harness.run.log keeps, and some


@fault("2000 no-op steps", "file descriptors flat, launcher's memory growth < 5 %", short=40, long=2000)
def many_steps(world: World, rounds: int) -> Tally:
    """One sweep; growth is from the tenth step to the last."""
    tally, results, told = Tally(), world.new_folder(), Told(world.new_folder() / "told")
    jobs = [make_job(f"s{number:04d}", "good") for number in range(rounds)]
    command = world.zygote(COMMANDS)  # in a process that has loaded what `harness run` has
    child = command.start("faults.acts:sweep", results=str(results), jobs=jobs, told=str(told.path))
    code = child.wait(3600)
    ends = told.of("StepFinished")
    for end in ends:
        with tally.round(f"step {end['step']}") as one:
            one.must(end["status"] == "done", f"recorded as {end['status']}: {end['reason']}")
            one.must(end["files"] == ends[0]["files"], f"{end['files']} open files, {ends[0]['files']} after the first")
            one.must(end["server_files"] == ends[0]["server_files"], f"{end['server_files']} open files of the server")
    growth = ends[-1]["resident"] / ends[9]["resident"] - 1
    with tally.round("the sweep") as one:
        one.must(code == 0, f"ended with {code}: {evidence.brief(child.said())}")
        one.must(len(ends) == rounds, f"{len(ends)} of {rounds} steps ended")
        one.must(growth < GROWTH, f"the launcher's memory grew by {growth:.1%}")
        evidence.must_be_complete(one, results, [job["step"] for job in jobs])
    seconds = (ends[-1]["at"] - ends[0]["at"]) / max(1, len(ends) - 1)
    tally.notes.append(
        f"memory {growth:+.1%} of {ends[9]['resident'] / MIB:.0f} MiB, {ends[-1]['files']} open files, "
        f"{seconds:.3f} s per step"
    )
    return tally


@fault("a worker printing 1 GB", "launcher's memory growth < 5 %, the log's end right, what is kept of it bounded",
       short=64, long=1024)  # fmt: skip
def much_output(world: World, rounds: int) -> Tally:
    """One step prints so many MiB and a hundred lines after them; another one crashes after the same."""
    tally, results, told = Tally(), world.new_folder(), Told(world.new_folder() / "told")
    jobs = [make_job("quiet", "good"), make_job("much", "print_much", amount=rounds * MIB, wall=600),
            make_job("crash", "print_and_crash", amount=rounds * MIB, wall=600)]  # fmt: skip
    child = world.zygote().start("faults.acts:sweep", results=str(results), jobs=jobs, told=str(told.path))
    told.wait_for(lambda event: event["event"] == "StepFinished", child.runs, 60)
    first = highest = processes.resident_bytes(child.pid)
    while not child.ended():
        highest = max(highest, processes.resident_bytes(child.pid))
        time.sleep(0.01)
    with tally.round(f"{rounds} MiB") as one:
        found = {record["step"]: record for record in evidence.records(results)}
        statuses = {step: record["status"] for step, record in found.items()}
        one.must(statuses == {"quiet": "done", "much": "done", "crash": "failed"}, f"recorded as {statuses}")
        one.must(highest < first * (1 + GROWTH), f"the launcher's memory grew by {highest / first - 1:.1%}")
        tail = found["crash"]["log_tail"]
        lines = [line for line in tail if line.startswith("line ")]
        right = lines[-1:] == ["line 99"] and "RuntimeError: after the lines" in tail[-1]
        one.must(right, f"the tail ends {tail[-3:]}")
        logs = sum(path.stat().st_blocks * 512 for path in (results / ".cache" / "jobs").glob("*.log*"))
        one.must(logs <= 2 * LOG_BYTES, f"the logs take {logs / MIB:.0f} MiB")
        kept = (results / ".cache" / "jobs" / "much.1.log").read_text().splitlines()
        one.must(kept[-1] == "line 99", "the end of the log is not kept")
    tally.notes.append(f"memory {highest / first - 1:+.1%} of {first / MIB:.0f} MiB, {logs / MIB:.1f} MiB of logs kept")
    return tally
