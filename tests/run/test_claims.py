"""Claims and turns: one launcher has a step, whoever is gone has none, and two never measure at once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from harness.errors import StoreError
from harness.run.claims import STALE_SECONDS, Claims, Holder, held

# Claims a step (or takes a turn), says so, and stays.
OTHER = """
import sys, time
from pathlib import Path
from harness.run.claims import Claims
claims = Claims(Path(sys.argv[1]))
if sys.argv[2] == "turn":
    with claims.turn():
        print("has it", flush=True)
        time.sleep(float(sys.argv[3]))
else:
    what, _, step = sys.argv[2].rpartition(":")
    print(claims.carry(step) if what else claims.take(step), flush=True)
    time.sleep(float(sys.argv[3]))
"""


def other(folder: Path, what: str, seconds: float = 60) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", OTHER, str(folder), what, str(seconds)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline().strip() in ("True", "has it")
    return process


def test_a_step_is_claimed_once_and_given_back(tmp_path: Path) -> None:
    process = other(tmp_path, "a")
    claims = Claims(tmp_path)
    try:
        assert not claims.take("a")
        assert claims.take("b")
        claims.release("a")  # not ours
        assert (tmp_path / "a.json").exists()
    finally:
        process.kill()
        process.wait()
    assert claims.take("a")  # its launcher is gone
    claims.release("a")
    assert not (tmp_path / "a.json").exists()


def test_a_launcher_may_take_its_own_claim_again(tmp_path: Path) -> None:
    claims = Claims(tmp_path)
    assert claims.take("a")
    assert claims.take("a")


def test_a_zombie_holds_nothing(tmp_path: Path) -> None:
    process = other(tmp_path, "a")
    process.send_signal(signal.SIGKILL)
    while Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
        time.sleep(0.01)
    assert Claims(tmp_path).take("a")
    process.wait()


def test_a_process_id_that_was_given_again_is_another_process(tmp_path: Path) -> None:
    me = Holder.this()
    assert me.lives(1e9)
    assert not replace(me, started=me.started + 1).lives(0.0)
    assert not replace(me, pid=2**22 + 1).lives(0.0)


@pytest.mark.parametrize("elsewhere", [{"boot": "another"}, {"namespace": "pid:[1]"}])
def test_a_claim_of_another_machine_ages(tmp_path: Path, elsewhere: dict[str, str]) -> None:
    holder = replace(Holder.this(), **elsewhere)
    file = tmp_path / "a.json"
    file.write_text(json.dumps(asdict(holder)))
    claims = Claims(tmp_path)
    assert not claims.take("a")
    old = time.time() - STALE_SECONDS - 5
    os.utime(file, (old, old))
    assert claims.take("a")
    assert json.loads(file.read_text())["boot"] == Holder.this().boot


def test_a_claim_is_kept_alive_by_touching_it(tmp_path: Path) -> None:
    claims = Claims(tmp_path)
    claims.take("a")
    os.utime(tmp_path / "a.json", (1, 1))
    claims.touch("a")
    assert time.time() - (tmp_path / "a.json").stat().st_mtime < 60
    claims.touch("never claimed")


@pytest.mark.parametrize(
    "torn", ["", "{", "[]", '{"boot": "x"}', '{"boot": 1, "namespace": 2, "pid": "x", "started": 3}']
)
def test_a_torn_claim_is_nobodys(tmp_path: Path, torn: str) -> None:
    (tmp_path / "a.json").write_text(torn)
    assert Claims(tmp_path).take("a")


def test_a_turn_is_waited_for_and_said_once(tmp_path: Path) -> None:
    process = other(tmp_path, "turn", 0.5)
    said: list[str] = []
    with Claims(tmp_path).turn(lambda: said.append("waits")):
        assert process.wait(timeout=5) == 0
    with Claims(tmp_path).turn(lambda: said.append("waits")):
        pass
    assert said == ["waits"]


def test_a_turn_ends_with_its_process(tmp_path: Path) -> None:
    process = other(tmp_path, "turn")
    process.kill()
    process.wait()
    with Claims(tmp_path).turn(lambda: pytest.fail("the one who had it is dead")):
        pass


def test_a_folder_that_cannot_hold_claims_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="claims cannot be kept"):
        Claims(tmp_path / "file" / "claims")


def test_what_an_engine_was_handed_is_carried_out_by_one_process(tmp_path: Path) -> None:
    """A launcher that goes on after another was killed takes nothing that is still being carried out."""
    launcher = Claims(tmp_path, hands_out=True)
    assert launcher.take("a")
    process = other(tmp_path, "carry:a")
    try:
        assert not Claims(tmp_path).carry("a")
        launcher.release("a")
        assert not launcher.take("a") and not Claims(tmp_path).take("a")
        assert held(tmp_path) == ["a"]
        Claims(tmp_path).lost("a")  # the engine says that the machine is gone
        assert launcher.take("a") and Claims(tmp_path).carry("a")
    finally:
        process.kill()
        process.wait()


def test_a_process_of_a_queue_leaves_a_step_to_the_launcher_that_took_it(tmp_path: Path) -> None:
    """Where its own launcher was killed, and one that measures here itself goes on."""
    process = other(tmp_path, "a")
    claims = Claims(tmp_path)
    try:
        assert not claims.carry("a")
    finally:
        process.kill()
        process.wait()
    assert claims.carry("a")
    claims.release("a")
    assert not (tmp_path / "a.node.json").exists()


def test_a_step_that_a_dead_process_carried_out_is_free(tmp_path: Path) -> None:
    process = other(tmp_path, "carry:a")
    process.kill()
    process.wait()
    claims = Claims(tmp_path)
    assert claims.take("a") and not (tmp_path / "a.node.json").exists()
