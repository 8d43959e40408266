"""Compaction: what is new is read and nothing else, with the bytes of reading all; and it loses to no writer."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas
import pytest

from harness.results import load, rows
from harness.results.rows import compact
from harness.results.store import Store

METHODS = ("base", "lora", "int8", "int4")
WRITERS, EACH = 8, 500
WRITE = Path(__file__).parents[2] / "scripts" / "write_records.py"


@pytest.fixture
def results(tmp_path: Path, synthetic: ModuleType) -> Path:
    synthetic.write(tmp_path, methods=METHODS)
    return tmp_path


def add(results: Path, synthetic: ModuleType, step: str, **changes: Any) -> Path:
    record = synthetic.record("eval", "int4", task="perplexity", step=step, **{"metrics": {"loss": 2.0}, **changes})
    path = results / "synthetic" / record["environment"]["installation"] / f"{record['record']}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(record))
    return path


def from_scratch(results: Path) -> bytes:
    """The rows of a copy in which nothing is remembered."""
    copy = results.with_name(f"{results.name}-copy")
    shutil.copytree(results, copy, ignore=shutil.ignore_patterns("rows.parquet", "*.listing"))
    try:
        return compact(copy, "synthetic").path.read_bytes()
    finally:
        shutil.rmtree(copy)


def test_only_what_is_new_is_read_and_the_bytes_are_those_of_reading_all(
    results: Path, synthetic: ModuleType
) -> None:
    whole = compact(results, "synthetic")
    assert whole.read == whole.records > 40
    assert compact(results, "synthetic").read == 0
    steps = ("0000000000000000", "8888888888888888", "ffffffffffffffff")  # before, among and behind the others
    for step in steps:
        add(results, synthetic, step, precision="bf16-mixed", seed=7, status="failed", reason=f"because of {step}")
    found = compact(results, "synthetic")
    assert found.read == 3 and found.records == whole.records + 3
    assert found.path.read_bytes() == from_scratch(results)
    assert set(steps) <= set(load(results, "synthetic")["step"])


def test_what_went_and_what_changed_is_seen(results: Path, synthetic: ModuleType) -> None:
    compact(results, "synthetic")
    files = sorted((results / "synthetic" / synthetic.INSTALLATION).glob("*.1.json"))
    files[0].unlink()
    files[-1].unlink()
    add(results, synthetic, files[5].name.split(".")[0], metrics={"loss": 2.25, "perplexity": 9.5})
    found = compact(results, "synthetic")
    assert found.read == 1
    assert found.path.read_bytes() == from_scratch(results)


def test_records_of_another_installation_take_their_place(results: Path, synthetic: ModuleType) -> None:
    compact(results, "synthetic")
    for installation in ("000000000000", "ffffffffffff"):
        add(results, synthetic, "1234123412341234", installation=installation)
    found = compact(results, "synthetic")
    assert found.read == 2
    assert found.path.read_bytes() == from_scratch(results)


def test_going_back_and_forth_gives_the_same_bytes(results: Path, synthetic: ModuleType) -> None:
    first = compact(results, "synthetic").path.read_bytes()
    path = add(results, synthetic, "8888888888888888")
    assert compact(results, "synthetic").path.read_bytes() != first
    path.unlink()
    again = compact(results, "synthetic")
    assert again.read == 0 and again.path.read_bytes() == first


@pytest.mark.parametrize("wrong", ["copy", "damaged", "undeclared"])
def test_what_is_not_plain_is_read_in_full(results: Path, synthetic: ModuleType, wrong: str) -> None:
    """A copy of a known record, a damaged file, a metric that there is not: as reading all says, and named."""
    compact(results, "synthetic")
    path = add(results, synthetic, "8888888888888888")
    if wrong == "copy":
        theirs = sorted(path.parent.glob("*.1.json"))[3]
        (results / "synthetic" / "zzzz").mkdir()
        shutil.copy(theirs, results / "synthetic" / "zzzz" / theirs.name)
    elif wrong == "damaged":
        path.write_text(path.read_text()[:200])
    else:
        path.write_text(path.read_text().replace('"loss"', '"losss"'))
    found = compact(results, "synthetic")
    assert len(found.unreadable) == 1 and found.path.read_bytes() == from_scratch(results)
    add(results, synthetic, "9999999999999999")
    found = compact(results, "synthetic")
    assert len(found.unreadable) == 1 and found.path.read_bytes() == from_scratch(results)


def test_rows_that_somebody_else_made_are_not_taken_for_those_of_the_records(
    results: Path, synthetic: ModuleType, tmp_path: Path
) -> None:
    """A Parquet file may say what it likes of itself: what was not made here is made again."""
    path = compact(results, "synthetic").path
    honest = path.read_bytes()
    from harness.results import parquet

    frame, digest = parquet.read(path)
    frame["value"] = frame["value"] * 2
    path.write_bytes(parquet.to_bytes(frame, digest))
    shutil.rmtree(results / ".cache" / "rows")
    assert compact(results, "synthetic").path.read_bytes() == honest


def test_a_record_that_comes_while_others_are_read_is_not_lost(
    results: Path, synthetic: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is in no rows yet, and those rows are not taken for all."""
    real = rows.stream

    def slowly(*arguments: Any) -> Iterator[Any]:
        yield from real(*arguments)
        add(results, synthetic, "8888888888888888")

    monkeypatch.setattr(rows, "stream", slowly)
    before = compact(results, "synthetic")
    monkeypatch.setattr(rows, "stream", real)
    assert "8888888888888888" in set(load(results, "synthetic")["step"])
    after = compact(results, "synthetic")
    assert after.rows == before.rows + 3 and after.path.read_bytes() == from_scratch(results)


def test_a_damaged_page_of_numbers_is_found(results: Path) -> None:
    from harness.errors import StoreError

    path = compact(results, "synthetic").path
    whole = bytearray(path.read_bytes())
    found = 0
    for place in range(200, len(whole) - 8000, 997):
        changed = bytearray(whole)
        changed[place] ^= 1
        path.write_bytes(changed)
        try:
            pandas.testing.assert_frame_equal(load(results, "synthetic"), rows.frame_of(_good(results)))
        except StoreError:
            found += 1
    assert found > 3
    path.write_bytes(whole)


def _good(results: Path) -> list[dict[str, Any]]:
    return Store(results).records("synthetic").records


def test_eight_writers_lose_nothing_and_nothing_is_doubled(tmp_path: Path) -> None:
    """While they write somebody compacts again and again: every state of the rows is one that there was."""
    Store(tmp_path).folder("many").mkdir(parents=True)
    writers = [
        subprocess.Popen([sys.executable, WRITE, tmp_path, str(writer), str(EACH)]) for writer in range(WRITERS)
    ]
    seen: list[int] = []
    while any(writer.poll() is None for writer in writers):
        compact(tmp_path, "many")
        frame = load(tmp_path, "many")
        losses = frame.loc[frame["metric"] == "loss", "value"]
        assert losses.is_unique
        seen.append(len(losses))
    assert [writer.returncode for writer in writers] == [0] * WRITERS
    assert seen == sorted(seen)
    expected = {float(writer * 1_000_000 + number) for writer in range(WRITERS) for number in range(EACH)}
    for _ in range(2):
        found = compact(tmp_path, "many")
        assert (found.records, found.unreadable) == (WRITERS * EACH, [])
    frame = load(tmp_path, "many")
    assert Counter(frame.loc[frame["metric"] == "loss", "value"]) == Counter(expected)
    assert list((tmp_path / "many").rglob("*.part")) == []


def test_compacting_twice_at_once_leaves_one_whole_file(tmp_path: Path, synthetic: ModuleType) -> None:
    synthetic.write(tmp_path, methods=METHODS)
    code = "import sys; from harness.results.rows import compact; compact(sys.argv[1], 'synthetic')"
    others = [subprocess.Popen([sys.executable, "-c", code, tmp_path]) for _ in range(3)]
    assert [other.wait() for other in others] == [0, 0, 0]
    assert (tmp_path / "synthetic" / "rows.parquet").read_bytes() == from_scratch(tmp_path)
