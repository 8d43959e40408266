"""The cache's limit: least recently used first, what is needed never, references whole, and what it reads."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable
from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.models.checkpoint import is_sealed
from harness.results import cache_limit, made
from harness.results.cache_limit import VARIABLE, CacheLimit, limit_bytes
from harness.results.made import made_in, oldest_first
from harness.results.store import Store

NOW = time.time()
SIZE = 10_000


def checkpoint(store: Store, step: str, minutes: float, parts_of: Iterable[str] = (), *, size: int = SIZE) -> None:
    folder = store.cache / "checkpoints" / step
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "weights").write_bytes(bytes(size))
    parts = {"model": f"checkpoints/{step}/model", **{other: f"checkpoints/{other}/model" for other in parts_of}}
    seal = folder / "checkpoint.json"
    seal.write_text(json.dumps({"format": 1, "kind": "k", "parts": parts, "made": ["model"], "opened_by": {}}))
    os.utime(seal, (NOW - 60 * minutes, NOW - 60 * minutes))


def artefact(store: Store, step: str, minutes: float) -> None:
    folder = store.cache / "artefacts" / step
    folder.mkdir(parents=True)
    (folder / "logits").write_bytes(bytes(SIZE))
    os.utime(folder, (NOW - 60 * minutes, NOW - 60 * minutes))


def held(store: Store) -> set[str]:
    return {one.step for one in made_in(store.cache)}


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv(VARIABLE, str(2.5 * SIZE / 1e9))
    return Store(tmp_path)


def trim(store: Store, *, used: Iterable[str] = (), needed: Iterable[str] = (), suite: str | None = None) -> set[str]:
    return {one.step for one in CacheLimit(store).after(used, lambda: needed, suite).gone}


def test_the_least_recently_used_go_and_no_more_than_must(store: Store) -> None:
    for step, minutes in (("a", 40), ("b", 30), ("c", 20), ("d", 10)):
        checkpoint(store, step, minutes)
    assert trim(store) == {"a", "b"} and held(store) == {"c", "d"}
    assert all(is_sealed(store.cache, step) for step in "cd")
    assert trim(store) == set()


def test_being_opened_is_being_used(store: Store) -> None:
    for step, minutes in (("a", 40), ("b", 30), ("c", 20)):
        checkpoint(store, step, minutes)
    artefact(store, "r", 50)
    assert trim(store, used=["a", "r"]) == {"b", "c"}


def test_what_is_needed_stays_and_how_far_it_is_over_is_told(store: Store) -> None:
    for step, minutes in (("a", 40), ("b", 30), ("c", 20), ("d", 10)):
        checkpoint(store, step, minutes)
    told = CacheLimit(store).after((), lambda: ["a", "b", "c"])
    assert {one.step for one in told.gone} == {"d"} and told.size > SIZE
    assert told.over == sum(one.size for one in made_in(store.cache)) - int(2.5 * SIZE)


def test_what_is_needed_is_not_asked_for_below_the_limit(store: Store) -> None:
    checkpoint(store, "a", 1)
    CacheLimit(store).after((), lambda: pytest.fail("asked for all the same"))


def test_parts_stay_with_what_refers_to_them(store: Store) -> None:
    """Taking the parts first would leave a checkpoint that is none, and is not known to be."""
    checkpoint(store, "base", 90)
    checkpoint(store, "lora", 5, ["base"])
    checkpoint(store, "other", 50)
    assert trim(store) == {"other"}
    checkpoint(store, "more", 1)
    assert trim(store, needed=["lora"]) == {"more"}, "base is as needed as lora is"
    checkpoint(store, "new", 0)
    assert trim(store, needed=["new"]) == {"lora", "base"} or held(store) == {"new", "base"}
    assert all(is_sealed(store.cache, step) for step in held(store))


def test_references_through_a_linked_folder_are_followed(store: Store, tmp_path: Path) -> None:
    """Where .cache/checkpoints is a link to another disk, seals hold absolute paths."""
    disk = tmp_path / "disk"
    disk.mkdir()
    (store.cache).mkdir()
    (store.cache / "checkpoints").symlink_to(disk)
    checkpoint(store, "base", 90)
    checkpoint(store, "lora", 1)
    seal = disk / "lora" / "checkpoint.json"
    content = json.loads(seal.read_text())
    content["parts"]["base"] = str(disk / "base" / "model")
    seal.write_text(json.dumps(content))
    found = {one.step: one.refers for one in made_in(store.cache)}
    assert found == {"base": frozenset(), "lora": frozenset({"base"})}


def test_a_circle_of_references_ends(store: Store) -> None:
    checkpoint(store, "a", 3, ["b"])
    checkpoint(store, "b", 2, ["a"])
    checkpoint(store, "c", 1, ["c", "nowhere"])
    assert {one.step for one in oldest_first(made_in(store.cache))} == {"a", "b", "c"}
    assert trim(store, needed=["a"]) == {"c"}


def test_another_suite_in_the_middle_of_a_run_keeps_what_it_needs(store: Store) -> None:
    for step, minutes in (("a", 40), ("b", 30), ("c", 20), ("d", 10)):
        checkpoint(store, step, minutes)
    steps = [{"id": "x", "state": "runnable", "input": "a"}, {"id": "y", "state": "done", "input": "b"},
             {"id": "z", "state": "runnable", "inputs": {"teacher": "b"}}]  # fmt: skip
    store.write_plan("other", {"format": 1, "steps": steps})
    (store.folder("other") / "z.1.json").write_text("{}")
    assert trim(store, suite="mine") == {"b", "c"}, "z has run since it was planned"


def test_a_plan_that_nobody_goes_on_with_only_comes_last(store: Store) -> None:
    checkpoint(store, "a", 40)
    checkpoint(store, "b", 30)
    checkpoint(store, "c", 20)
    store.write_plan("other", {"format": 1, "steps": [{"id": "x", "state": "runnable", "input": "a"}]})
    two_days_ago = NOW - 2 * 86_400
    os.utime(store.folder("other"), (two_days_ago, two_days_ago))
    assert trim(store) == {"b"}, "the others go before it"
    checkpoint(store, "d", 5)
    os.utime(store.folder("other"), (two_days_ago, two_days_ago))
    assert trim(store, needed=["c", "d"]) == {"a"}, "and it where nothing else can"


def test_what_was_taken_away_by_a_killed_process_is_deleted(store: Store) -> None:
    checkpoint(store, "a", 1)
    (store.cache / "checkpoints" / f"{made.GONE}b-1").mkdir()
    assert held(store) == {"a"}, "it counts for nothing"
    CacheLimit(store)
    assert [path.name for path in (store.cache / "checkpoints").iterdir()] == ["a"]


def test_sealed_folders_are_measured_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint(store, "a", 1)
    limit = CacheLimit(store)
    limit.after((), list)
    monkeypatch.setattr(made, "size_of", lambda path: pytest.fail(f"{path} was measured again"))
    limit.after((), list)


def test_the_limit_is_what_is_asked_for_else_half_of_the_disk_and_a_hundred_gigabytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Usage:
        free = 30_000_000_000

    monkeypatch.setattr(cache_limit.shutil, "disk_usage", lambda path: Usage)
    assert limit_bytes(tmp_path, 10_000_000_000) == 20e9
    assert limit_bytes(tmp_path, 500_000_000_000) == 100e9
    assert limit_bytes(tmp_path, 10_000_000_000, 5e9) == 5e9


@pytest.mark.parametrize("text", ["many", "-1", "nan", "20GB"])
def test_a_limit_that_is_none_is_one_line(store: Store, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv(VARIABLE, text)
    with pytest.raises(UsageError, match=f"{VARIABLE}={text}: write a number of gigabytes"):
        CacheLimit(store)


def test_none_keeps_only_what_is_needed_next(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "0")
    checkpoint(store, "a", 1)
    checkpoint(store, "b", 1)
    assert trim(store, needed=["b"]) == {"a"}
