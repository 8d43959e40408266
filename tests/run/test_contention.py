"""Contention: a busy neighbour is seen, this process's own work is not taken for one."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace

import pytest

from harness.results.record import disturbed
from harness.run.contention import Contention, compare, usage
from harness.run.processes import cpu_seconds

pytestmark = pytest.mark.quiet

QUIET = Contention(
    others_share=0.0, supervisor_share=0.0, steal_share=0.0, switches_per_second=0.0, swapped=False, seconds=10.0
)


def spin(seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass


def test_another_process_is_counted_and_told_from_a_supervisor() -> None:
    # The child of a shell that has already gone is nobody's descendant here: a stranger.
    code = "import time\nt = time.monotonic() + 1.2\nwhile time.monotonic() < t: pass"
    shell = f"{sys.executable} -c '{code}' >/dev/null 2>&1 & echo $!"
    pid = int(subprocess.run(["sh", "-c", shell], capture_output=True, text=True, check=True).stdout)
    before, before_supervised = usage(), usage((pid,))
    time.sleep(0.8)
    plain, supervised = compare(before, usage()), compare(before_supervised, usage((pid,)))
    assert plain.others_share > 0.1
    assert supervised.supervisor_share > 0.2
    assert supervised.others_share < plain.others_share


def test_own_work_and_that_of_live_children_is_not_contention() -> None:
    child = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        before, own_before, child_before = usage(), time.process_time(), cpu_seconds(child.pid)
        spin(0.6)
        child_used = cpu_seconds(child.pid) - child_before
        own_used = time.process_time() - own_before
        assert child_used > 0.05
        assert usage().own - before.own > 0.9 * (child_used + own_used)
    finally:
        child.kill()
        child.wait()


def test_each_disturbance_has_its_flag() -> None:
    assert QUIET.flags() == []
    assert replace(QUIET, others_share=0.5).flags() == ["contention: other processes used 50% of the cores"]
    assert "hypervisor" in replace(QUIET, steal_share=0.1).flags()[0]
    assert "switches" in replace(QUIET, switches_per_second=1000.0).flags()[0]
    assert "swapping" in replace(QUIET, swapped=True).flags()[0]
    assert replace(QUIET, others_share=0.5, seconds=0.1).flags() == []
    assert replace(QUIET, stalled_share=0.1).flags() == ["memory pressure: processes waited for memory 10% of the time"]
    assert "quota held the step back 10%" in replace(QUIET, held_back_share=0.1).flags()[0]
    assert replace(QUIET, overheated=2).flags() == ["throttling: the processor was slowed for its heat 2 times"]


def test_what_is_no_fault_of_a_moment_asks_for_no_second_measurement() -> None:
    """A quota is there the next time as well; heat, neighbours and pressure may be gone."""
    assert not disturbed({"flags": replace(QUIET, held_back_share=0.1, switches_per_second=1000.0).flags()})
    shares = ("others_share", "steal_share", "stalled_share")
    for changed in (*({name: 0.5} for name in shares), {"overheated": 1}, {"swapped": True}):
        assert disturbed({"flags": replace(QUIET, **changed).flags()}), changed  # type: ignore[arg-type]
