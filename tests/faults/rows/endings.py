"""Steps that end badly by themselves: each has a status of its own, and the sweep goes on."""

from __future__ import annotations

from fakes.jobs import make_job

from faults import evidence
from faults.tally import Tally, World, fault

ENDINGS = {
    "segfault": ("crashed", "SIGSEGV"),
    "abort": ("crashed", "SIGABRT"),
    "vanish": ("crashed", "exit status 5"),
    "out_of_memory": ("out_of_memory", "MemoryError"),
    "device_out_of_memory": ("out_of_memory", "OutOfMemoryError"),
    "nan_loss": ("invalid", "training loss of step 3 is nan"),
    "crash": ("failed", "ValueError"),
}  # fmt: skip
IN_THE_LONG_FORM = {"real_device_out_of_memory": ("out_of_memory", "2147483648 bytes asked for")}


@fault(
    "segfault, abort, host out-of-memory (address-space limit), device out-of-memory, NaN loss",
    "own status each, sweep goes on", short=1, long=20,
)  # fmt: skip
def bad_endings(world: World, rounds: int) -> Tally:
    """Sweeps in which a good step follows each bad one."""
    tally = Tally()
    for number in range(rounds):
        wanted = ENDINGS | (IN_THE_LONG_FORM if rounds > 1 and number == 0 else {})
        results = world.new_folder()
        jobs = [job for act in wanted for job in (make_job(act, act), make_job(f"{act}-next", "good"))]
        child = world.zygote().start("faults.acts:sweep", results=str(results), jobs=jobs)
        code = child.wait(120)
        found = {record["step"]: record for record in evidence.records(results)}
        for act, (status, reason) in wanted.items():
            with tally.round(act) as one:
                record = found[act]
                one.must(record["status"] == status, f"recorded as {record['status']}: {record['reason']}")
                one.must(reason in str(record["reason"]), f"the reason is: {record['reason']}")
                one.must(found[f"{act}-next"]["status"] == "done", "the sweep did not go on")
                one.must(code == 1, f"the launcher ended with {code}: {evidence.brief(child.said())}")
                evidence.must_be_intact(one, {}, results)
    return tally
