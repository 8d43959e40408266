"""A report that is killed while it is written, and a disk that is full then."""

from __future__ import annotations

import itertools
import json
import random
import shutil
import signal
import time
from pathlib import Path

from faults import evidence, suites
from faults.children import REPORTS, Child
from faults.inject import fullness
from faults.tally import Tally, World, fault

Tree = dict[str, bytes]


class Bench:
    """Records of a small suite with its plan, and the report that belongs to them; one for each world."""

    @classmethod
    def of(cls, world: World, *, drawn: bool) -> Bench:
        """The world's own, with its pictures drawn or not."""
        name = f"reports drawn {drawn}"
        if name not in world.kept:
            world.kept[name] = cls(world, str(world.new_folder()) if drawn else "")
        return world.kept[name]

    def __init__(self, world: World, drawn: str) -> None:
        self.world, self.drawn = world, drawn
        self.begun = world.new_folder()
        methods = ["act=good", "act=crash", "act=many_items, amount=30"]
        child = suites.run(world, self.begun, suites.write(self.begun, methods), "--json")
        assert child.wait() == 1, child.said()  # one of them crashes
        self.write(self.begun)
        self.wanted = self.tree(self.begun)

    def copy(self, *, with_report: bool) -> Path:
        """The records again, with an older report or without one."""
        folder = self.world.new_folder()
        shutil.copytree(self.begun, folder, dirs_exist_ok=True)
        if with_report:
            (folder / "reports" / "fakes" / "index.html").write_text("older")
        else:
            shutil.rmtree(folder / "reports")
            (folder / "results" / "fakes" / "rows.parquet").unlink(missing_ok=True)
        return folder

    def start(self, folder: Path, environ: dict[str, str] | None = None) -> Child:
        """Begin to write the report."""
        return self.world.zygote(REPORTS).start(
            "faults.acts:write_report", environ=environ, results=str(folder / "results"), suite="fakes",
            reports=str(folder / "reports"), drawn=self.drawn,
        )  # fmt: skip

    def write(self, folder: Path) -> None:
        """Write the report to its end."""
        child = self.start(folder)
        assert child.wait() == 0, child.said()

    def tree(self, folder: Path) -> Tree:
        """Every file of the report and of the compacted rows; parts that were left over are among them."""
        files = [*(folder / "reports").rglob("*"), *(folder / "results" / "fakes").glob("*"),
                 *(folder / "results" / "fakes").glob(".*")]  # fmt: skip
        return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(set(files)) if path.is_file()}


@fault("killed while writing the report", "rebuilding gives identical bytes, nothing left over", short=2, long=100_000)
def killed_reports(world: World, rounds: int) -> Tally:
    """Killed before the n-th write, for every n, and as often at a random moment; with an older report and without."""
    often = rounds >= 10
    tally, bench, chance = Tally(), Bench.of(world, drawn=often), random.Random(world.seed)
    before = evidence.snapshot(bench.begun / "results")
    length = _seconds(bench) if often else 0.0
    for number in itertools.islice(itertools.count(1) if often else (3, 8), rounds):
        for moment in (None, chance.uniform(0, length)) if often else (None,):
            folder = bench.copy(with_report=number % 2 == 0)
            asked = {"folder": str(folder), "flag": str(folder.with_suffix(".flag")), "after": number, "who": "any",
                     "kill": True}  # fmt: skip
            environ = {fullness.NAME: json.dumps(asked)} if moment is None else {}
            child = bench.start(folder, environ)
            if moment is not None:
                time.sleep(moment)
                child.send(signal.SIGKILL)
            code = child.wait()
            if code == 0 and moment is None:
                tally.notes.append(f"{number - 1} writes")
                return tally
            with tally.round(f"before write {number}" if moment is None else f"after {moment:.3f} s") as one:
                one.must(code in (0, -signal.SIGKILL), f"ended with {code}: {evidence.brief(child.said())}")
                bench.write(folder)
                found = bench.tree(folder)
                more, less = sorted(set(found) - set(bench.wanted)), sorted(set(bench.wanted) - set(found))
                one.must(not more, f"left over: {more}")
                one.must(not less, f"missing: {less}")
                unlike = [name for name in found if name in bench.wanted and found[name] != bench.wanted[name]]
                one.must(not unlike, f"other bytes: {unlike}")
                kept = {path.relative_to(bench.begun): content for path, content in before.items()}
                evidence.must_be_intact(one, {folder / path: content for path, content in kept.items()},
                                        folder / "results")  # fmt: skip
            shutil.rmtree(folder)
    return tally


def _seconds(bench: Bench) -> float:
    """How long a report takes that nobody kills."""
    began = time.monotonic()
    bench.write(bench.copy(with_report=False))
    return time.monotonic() - began


@fault("disk full while rows and report are written", "exit 3, says so, earlier records intact, the next one is whole",
       short=2, long=100_000)  # fmt: skip
def disk_full_of_reports(world: World, rounds: int) -> Tally:
    """Full from the n-th write of the report on, for every n."""
    tally, bench = Tally(), Bench.of(world, drawn=rounds >= 10)
    numbers = [1, 4] if rounds < 10 else itertools.count(1)
    for number in itertools.islice(numbers, rounds):
        folder = bench.copy(with_report=False)
        flag = world.new_folder() / "full"
        asked = {"folder": str(folder), "flag": str(flag), "after": number, "who": "any"}
        before = evidence.snapshot(folder / "results")
        child = world.zygote(REPORTS).start(
            "faults.acts:command", environ={fullness.NAME: json.dumps(asked)},
            drawn=bench.drawn,
            arguments=["report", "fakes", "--results", str(folder / "results"), "--reports", str(folder / "reports")],
        )  # fmt: skip
        code = child.wait()
        if not flag.exists():
            tally.notes.append(f"{number - 1} writes")
            break
        flag.unlink()
        with tally.round(f"write {number}") as one:
            one.must(code == 3, f"ended with {code}: {evidence.brief(child.said())}")
            one.must(evidence.one_line(child.said()), f"said {evidence.brief(child.said())}")
            evidence.must_be_intact(one, before, folder / "results")
            bench.write(folder)
            one.must(bench.tree(folder) == bench.wanted, "the next report is not whole")
        shutil.rmtree(folder)
    return tally
