"""Damaged, doubled and newer records: each is set aside and counted, none is believed and none silently skipped."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

from fakes.jobs import make_job

from faults import evidence
from faults.tally import Round, Tally, World, fault
from harness.results import record as records
from harness.results.store import Store

MUST = "all quarantined and counted, never silently skipped"
SUITE = evidence.SUITE
ITEMS = 12_000


class Bench:
    """A results folder with a good record, and a place for a damaged one beside it."""

    def __init__(self, world: World) -> None:
        self.results = world.new_folder()
        jobs = [make_job("good", "good"), make_job("short", "good"), make_job("long", "many_items", amount=ITEMS)]
        child = world.zygote().start("faults.acts:sweep", results=str(self.results), jobs=jobs)
        assert child.wait() == 0, child.said()
        found = evidence.snapshot(self.results)
        self.good = next(path for path in found if path.name == "good.1.json")
        self.folder = self.good.parent
        self.contents = {path.name.split(".")[0]: content for path, content in found.items() if path != self.good}
        for name in self.contents:
            (self.folder / f"{name}.1.json").unlink()
        self.record = records.read(self.good)
        self.hard_id = self.record["environment"]["hard_id"]

    def judge(self, one: Round, paths: list[Path], step: str = "short") -> None:
        """The good record is read, each of ``paths`` is quarantined, and no step is done by them."""
        found = Store(self.results).records(SUITE)
        one.must(found.records == [self.record], f"{len(found.records)} records are believed instead of 1")
        aside = sorted(path for path, _ in found.quarantined)
        one.must(aside == sorted(paths), f"quarantined are {[path.name for path in aside]}")
        one.must(all(reason for _, reason in found.quarantined), "no reason is given")
        one.must(Store(self.results).find_done(step, self.hard_id) is None, "the step counts as done")

    def try_content(self, tally: Tally, what: str, step: str, content: bytes) -> None:
        """Put ``content`` where the record of ``step`` was, look, and take it away."""
        path = self.folder / f"{step}.1.json"
        with tally.round(what) as one:
            path.write_bytes(content)
            self.judge(one, [path], step)
        path.unlink()


@fault("a record cut at every byte", MUST, short=150, long=10**9)
def cut_records(world: World, rounds: int) -> Tally:
    """The short record at every length; the long one at every 97th."""
    tally, bench = Tally(), Bench(world)
    for step, stride in (("short", 1), ("long", 97)):
        content = bench.contents[step]
        lengths = list(range(0, len(content), stride))
        if len(lengths) > rounds:
            lengths = [*lengths[:: len(lengths) // rounds], len(content) - 1]
        for length in lengths:
            bench.try_content(tally, f"{step} record cut to {length} bytes", step, content[:length])
    return tally


@fault("a record with one bit flipped", MUST, short=300, long=10**9)
def flipped_bits(world: World, rounds: int) -> Tally:
    """Every bit of the short record; as many of the long one, drawn."""
    tally, bench, chance = Tally(), Bench(world), random.Random(world.seed)
    every = 8 * len(bench.contents["short"])
    for step in ("short", "long"):
        content, bits = bench.contents[step], 8 * len(bench.contents[step])
        drawn = range(bits) if bits <= min(rounds, every) else chance.sample(range(bits), min(rounds, every))
        for bit in drawn:
            damaged = bytearray(content)
            damaged[bit // 8] ^= 1 << bit % 8
            bench.try_content(tally, f"bit {bit} of the {step} record", step, bytes(damaged))
    return tally


@fault("a record with NUL bytes in place of its content, as after a loss of power", MUST, short=60, long=10**9)
def zeroed_records(world: World, rounds: int) -> Tally:
    """All of it, its end from every 64th byte on, one block of 512 bytes, NULs behind it, nothing at all."""
    tally, bench = Tally(), Bench(world)
    content = bench.contents["short"]
    tails = range(0, len(content), 64)
    damaged = {f"NUL from byte {start} on": content[:start] + bytes(len(content) - start) for start in tails}
    damaged |= {
        f"NUL from byte {start} to {start + 512}": content[:start] + bytes(512) + content[start + 512 :]
        for start in range(0, len(content) - 512, 64)
    }
    damaged |= {"NULs behind it": content + bytes(512), "empty": b"", "its own content twice": content * 2}
    for what, text in list(damaged.items())[-rounds:]:
        bench.try_content(tally, what, "short", text)
    return tally


@fault("the same record twice: under another attempt, suite or installation", MUST, short=1, long=1)
def doubled_records(world: World, rounds: int) -> Tally:
    """The original is read once, the copy set aside; a record of another suite belongs to none but its own."""
    tally, bench = Tally(), Bench(world)
    for what, path in (
        ("another attempt", bench.folder / "good.2.json"),
        ("another step", bench.folder / "short.1.json"),
        ("another installation", bench.folder.with_name("zzzzzzzzzzzz") / bench.good.name),
    ):
        with tally.round(what) as one:
            path.parent.mkdir(exist_ok=True)
            shutil.copy(bench.good, path)
            bench.judge(one, [path])
        path.unlink()
    with tally.round("another suite") as one:
        path = bench.results / "other" / bench.folder.name / bench.good.name
        path.parent.mkdir(parents=True)
        shutil.copy(bench.good, path)
        found = Store(bench.results).records("other")
        one.must(not found.records, "the copy counts in the other suite")
        one.must([aside for aside, _ in found.quarantined] == [path], "the copy is not named")
    return tally


@fault("a record of a newer version, and files that are no records", MUST, short=1, long=1)
def strange_records(world: World, rounds: int) -> Tally:
    """Newer formats, whole in their own way, and JSON of another kind."""
    tally, bench = Tally(), Bench(world)
    for what, content in _strange(bench.contents["short"]):
        bench.try_content(tally, what, "short", content)
    with tally.round("a folder") as one:
        path = bench.folder / "short.1.json"
        path.mkdir()
        bench.judge(one, [path])
        path.rmdir()
    with tally.round("a link to nowhere") as one:
        path.symlink_to("nowhere")
        bench.judge(one, [path])
    path.unlink()
    return tally


def _strange(content: bytes) -> Iterator[tuple[str, bytes]]:
    known = records.from_text(content, Path("short.1.json"))
    for version in (records.FORMAT + 1, 99, 10**30):
        yield f"format {version}", records.to_text(known | {"format": version}).encode()
        yield f"format {version}, no more known", json.dumps({"format": version}).encode()
    for version in (0, -1, True, 1.5, "2", None, [2]):
        yield f"format {version!r}", records.to_text(known | {"format": version}).encode()
    for text in ("null", "[]", "{}", "1", '"text"', "[" * 100_000, "\ufeff{}", "{" + '"a":' * 5000):
        yield f"JSON {text[:8]}", text.encode()
    yield "UTF-16", content.decode().encode("utf-16")
    yield "Latin-1", content.replace(b"fakes", b"fak\xe9s")
    yield "a digest and no format", records.to_text({"step": "short"}).encode()
    for key in known:
        yield f"without '{key}'", records.to_text({k: v for k, v in known.items() if k != key}).encode()


@fault("damaged records beside good ones, as rows and reports see them", "counted and named", short=1, long=1)
def damage_is_told(world: World, rounds: int) -> Tally:
    """Ten files of each kind of damage: the rows name every one, also when read from the compacted file."""
    from harness.results.rows import compact, load

    tally, bench = Tally(), Bench(world)
    content = bench.contents["short"]
    for number in range(10):
        (bench.folder / f"cut{number}.1.json").write_bytes(content[: 50 * number])
        (bench.folder / f"newer{number}.1.json").write_text(json.dumps({"format": 99 + number}))
        (bench.folder / f"copy{number}.1.json").write_bytes(bench.good.read_bytes())
    with tally.round("rows") as one:
        for compacted in (False, True):
            if compacted:
                compact(bench.results, SUITE)
            told = load(bench.results, SUITE)
            unreadable = told.attrs["unreadable"]
            one.must(len(unreadable) == 30, f"{len(unreadable)} of 30 damaged files are named")
            one.must(set(told["record"]) == {"good.1"}, f"rows are of {sorted(set(told['record']))}")
    return tally
