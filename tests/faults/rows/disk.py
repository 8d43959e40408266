"""A disk that fills up at any write, and a results folder that is or becomes read-only."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

from fakes.jobs import make_job

from faults import evidence, suites
from faults.inject import fullness
from faults.tally import Round, Tally, World, fault
from faults.told import Told

MUST = "exit 3, says so, earlier records intact, never `done`"
BEFORE = ["act=good", "act=large_part, amount=3000"]
AFTER = [*BEFORE, "act=large_part, amount=20000", "act=many_items, amount=300"]
LARGEST = 8000  # bytes of the largest file that the jobs of a file-size limit write
SPACE = ("No space left", "no space left", "File too large", "Disk quota")


def _begun(world: World) -> Path:
    """A folder with a results folder in which half of a suite is done, and the suite's file."""
    folder = world.new_folder()
    done = suites.run(world, folder, suites.write(folder, BEFORE), "--json")
    assert done.wait() == 0, done.said()
    suites.write(folder, AFTER)
    return folder


def _copy(world: World, begun: Path) -> Path:
    folder = world.new_folder()
    shutil.copytree(begun, folder, dirs_exist_ok=True)
    return folder


def _must_say_so(one: Round, code: int, said: str, reasons: Iterable[str] = SPACE) -> None:
    one.must(code == 3, f"ended with {code}: {evidence.brief(said)}")
    one.must(evidence.one_line(said), f"said {len(said.splitlines())} lines")
    one.must(any(reason in said for reason in reasons), f"did not say why: {evidence.brief(said)}")


def _must_go_on(one: Round, world: World, folder: Path, before: dict[Path, bytes]) -> None:
    """With space again, the same command does the rest."""
    results = folder / "results"
    evidence.must_be_intact(one, before, results)
    kept = evidence.snapshot(results)
    rest = suites.run(world, folder, folder / "fakes.yaml", "--json")
    one.must(rest.wait() == 0, f"with space again it ended with {rest.wait()}: {evidence.brief(rest.said())}")
    evidence.must_be_intact(one, kept, results)
    evidence.must_be_complete(one, results, suites.planned(results))


@fault("disk full from the n-th write of the launcher or of a worker on, for every n", MUST, short=4, long=100_000)
def disk_full_at_any_write(world: World, rounds: int) -> Tally:
    """Opening to write, renaming and making folders fail from the n-th on, in all processes; n up to the last one."""
    tally, begun = Tally(), _begun(world)
    for who, some in (("launcher", (2, 22)), ("worker", (2, 9))):
        numbers = some if rounds < 100 else itertools.count(1)
        for number in itertools.islice(numbers, rounds):
            folder = _copy(world, begun)
            flag = world.new_folder() / "full"
            asked = {"folder": str(folder), "flag": str(flag), "after": number, "who": who}
            before = evidence.snapshot(folder / "results")
            child = suites.run(
                world, folder, folder / "fakes.yaml", "--json", environ={fullness.NAME: json.dumps(asked)}
            )
            code = child.wait()
            if not flag.exists():
                tally.notes.append(f"{who}: {number - 1} writes")
                break
            flag.unlink()
            with tally.round(f"write {number} of the {who}") as one:
                if code != 0:
                    _must_say_so(one, code, child.said())
                else:  # the last one gives a claim back, which may fail
                    evidence.must_be_complete(one, folder / "results", suites.planned(folder / "results"))
                _must_go_on(one, world, folder, before)
            shutil.rmtree(folder)
    return tally


@fault("disk full at any write (a small tmpfs)", MUST, short=3, long=40)
def small_tmpfs(world: World, rounds: int) -> Tally:
    """A real file system with so many KiB left fills up wherever it does."""
    tally, begun = Tally(), _begun(world)
    amounts = [4 * number for number in range(rounds)] if rounds > 3 else [0, 80, 120]
    for left in amounts:
        folder = world.new_folder()
        if not _mount(folder):
            tally.notes.append("not tried: mounting is not allowed here")
            return tally
        try:
            shutil.copytree(begun, folder, dirs_exist_ok=True)
            before = evidence.snapshot(folder / "results")
            _fill(folder / "ballast", left)
            child = suites.run(world, folder, folder / "fakes.yaml", "--json")
            code = child.wait()
            with tally.round(f"{left} KiB left") as one:
                if code != 0:
                    _must_say_so(one, code, child.said())
                else:
                    evidence.must_be_complete(one, folder / "results", suites.planned(folder / "results"))
                (folder / "ballast").unlink()
                _must_go_on(one, world, folder, before)
        finally:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)
    return tally


def _mount(folder: Path) -> bool:
    command = ["mount", "-t", "tmpfs", "-o", "size=1m,mode=0755", "tmpfs", str(folder)]
    return os.geteuid() == 0 and subprocess.run(command, capture_output=True, check=False).returncode == 0


def _fill(ballast: Path, left: int) -> None:
    """Take all space but so many KiB."""
    block = bytes(4096)
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(block)
        except OSError:
            file.truncate(max(0, file.tell() - left * 1024))


@fault("disk full at any write (file-size limit)", MUST, short=2, long=40)
def file_size_limit(world: World, rounds: int) -> Tally:
    """No file can become longer than a limit: job files, logs, checkpoints and records fail in turn."""
    tally = Tally()
    limits = [250 * number for number in range(rounds)] if rounds > 2 else [1700, 4000]
    jobs = [make_job("a", "good"), make_job("b", "large_part", amount=LARGEST), make_job("c", "many_items", amount=300)]
    for limit in limits:
        results = world.new_folder()
        first = world.zygote().start("faults.acts:sweep", results=str(results), jobs=jobs[:1])
        assert first.wait() == 0, first.said()
        before = evidence.snapshot(results)
        with tally.round(f"{limit} bytes") as one:
            child = world.zygote().start("faults.acts:sweep", results=str(results), jobs=jobs, file_limit=limit)
            if limit >= LARGEST:  # every file fits
                one.must(child.wait() == 0, f"ended with {child.wait()}: {evidence.brief(child.said())}")
            else:
                _must_say_so(one, child.wait(), child.said())
            evidence.must_be_intact(one, before, results)
            rest = world.zygote().start("faults.acts:sweep", results=str(results), jobs=jobs)
            one.must(rest.wait() == 0, f"without the limit it ended with {rest.wait()}: {evidence.brief(rest.said())}")
            evidence.must_be_complete(one, results, "abc")
    return tally


@fault("a results folder that is read-only, or becomes so while a step runs", MUST, short=2, long=20)
def read_only(world: World, rounds: int) -> Tally:
    """Folders without permission to write, for a user to whom that matters."""
    tally = Tally()
    for number in range(rounds):
        results, told = world.new_folder(), Told(world.new_folder() / "told")
        jobs = [make_job("a", "good"), make_job("b", "good", amount=0.4), make_job("c", "good")]
        first = world.zygote().start("faults.acts:sweep", results=str(results), jobs=jobs[:1])
        assert first.wait() == 0, first.said()
        before = evidence.snapshot(results)
        with tally.round("while a step runs" if number % 2 else "from the start") as one:
            if number % 2 == 0:
                _write_protect(results)
            child = world.zygote().start(
                "faults.acts:sweep", results=str(results), jobs=jobs, override=False, told=str(told.path)
            )
            if number % 2:
                told.wait_for(lambda event: event["event"] == "StepStarted", child.runs, 30)
                time.sleep(0.2)
                _write_protect(results)
            _must_say_so(one, child.wait(), child.said(), ("Permission denied", "Read-only"))
            evidence.must_be_intact(one, before, results)
            one.must(set(evidence.done(results)) == {"a"}, f"done: {sorted(evidence.done(results))}")
            _write_protect(results, writable=True)
            rest = world.zygote().start("faults.acts:sweep", results=str(results), jobs=jobs)
            one.must(rest.wait() == 0, f"once writable it ended with {rest.wait()}: {evidence.brief(rest.said())}")
            evidence.must_be_complete(one, results, "abc")
    return tally


def _write_protect(results: Path, *, writable: bool = False) -> None:
    for path in (results, *(path for path in results.rglob("*") if path.is_dir())):
        path.chmod(0o755 if writable else 0o555)
