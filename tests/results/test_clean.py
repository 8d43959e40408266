"""Cleaning: what limits take, what nothing takes, and a kill at every step of the way."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from harness.errors import StoreError
from harness.models.checkpoint import is_sealed
from harness.results import clean, made
from harness.results.clean import Cleaning, Limits, choose, take
from harness.results.inventory import Item, stock
from harness.results.keep import reasons
from harness.results.made import size_of
from harness.results.named import FILE, to_text
from harness.results.nights import night_of
from harness.results.record import blank, read
from harness.results.shared import SharedStore
from harness.results.store import Store

DAY = 86_400.0
NOW = time.time()
A, B, C, D = ("aaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbb", "cccccccccccccccc", "dddddddddddddddd")


def put(
    store: Store, step: str, *, status: str = "done", suite: str = "s", days: float = 0, hard: str = "h",
    filler: int = 0,
) -> Path:
    """A record that began so many days ago; ``filler`` makes it longer."""
    job = {"step": step, "attempt": store.next_attempt(step), "suite": suite, "operation": "eval", "coordinates": {},
           "context": {"installation": store.installation}}  # fmt: skip
    record: dict[str, Any] = blank(job, status)
    record["started"] = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(NOW - days * DAY))
    record["environment"]["hard_id"] = hard
    record["log_tail"] = ["x" * filler]
    return store.write_record(record)


def checkpoint(store: Store, step: str, *, days: float = 0, parts_of: Iterable[str] = (), size: int = 1000) -> Path:
    """A sealed checkpoint, last used so many days ago, that refers to the parts of others."""
    folder = store.cache / "checkpoints" / step
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "weights").write_bytes(bytes(size))
    parts = {"model": f"checkpoints/{step}/model", **{other: f"checkpoints/{other}/model" for other in parts_of}}
    seal = {"format": 1, "kind": "causal", "parts": parts, "made": ["model"], "opened_by": {}}
    (folder / "checkpoint.json").write_text(json.dumps(seal))
    os.utime(folder / "checkpoint.json", (NOW - days * DAY, NOW - days * DAY))
    return folder


def log(store: Store, step: str, attempt: int, *, days: float = 0) -> list[Path]:
    paths = list(store.job_paths(step, attempt))
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("said something")
        os.utime(path, (NOW - days * DAY, NOW - days * DAY))
    return paths


def plan_of(store: Store, steps: Iterable[dict[str, Any]], suite: str = "s") -> None:
    store.write_plan(suite, {"format": 1, "suite": suite, "cells": [], "steps": list(steps)})


def page(reports: Path, name: str, keys: Iterable[tuple[str, str, str]] | None) -> None:
    (reports / name).mkdir(parents=True)
    (reports / name / "index.html").write_text("<html>")
    if keys is not None:
        (reports / name / FILE).write_text(to_text(keys))


def chosen(store: Store, limits: Limits, reports: Path = Path("nowhere")) -> Cleaning:
    items = stock(Store(store.root))
    return choose(items, reasons(store, items, [reports]), limits, size_of(store.root), NOW)


def going(found: Cleaning, kind: str = "record") -> list[str]:
    return sorted(item.name if kind in ("record", "log") else item.step for item in found.going if item.kind == kind)


def why(found: Cleaning, path: Path) -> str:
    return next(reason for item, reason in found.kept.items() if path in item.paths)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results")


def test_the_last_attempts_of_each_step_stay(store: Store) -> None:
    for _ in range(4):
        put(store, A)
    put(store, B)
    for attempt in range(1, 5):
        log(store, A, attempt)
    found = chosen(store, Limits(attempts=2))
    assert going(found) == [f"{A}.1", f"{A}.2"] == going(found, "log")
    assert going(chosen(store, Limits(attempts=4))) == []
    assert going(chosen(store, Limits())) == []


def test_attempts_are_counted_in_each_suite(store: Store) -> None:
    put(store, A, suite="s")
    put(store, A, suite="other")
    assert going(chosen(store, Limits(attempts=1))) == []


def test_age_is_that_of_the_measurement_and_not_of_the_file(store: Store) -> None:
    old = put(store, A, days=40)
    put(store, B, days=10)
    os.utime(old)
    assert going(chosen(store, Limits(seconds=30 * DAY))) == [f"{A}.1"]
    assert going(chosen(store, Limits(seconds=5 * DAY))) == [f"{A}.1", f"{B}.1"]


def test_what_any_limit_keeps_stays(store: Store) -> None:
    for days in (50, 40, 10):
        put(store, A, days=days)
    assert going(chosen(store, Limits(attempts=1, seconds=30 * DAY))) == [f"{A}.1", f"{A}.2"]
    assert going(chosen(store, Limits(attempts=2, seconds=30 * DAY))) == [f"{A}.1"]


def test_a_size_takes_no_more_than_it_must_and_first_what_can_be_made_again(store: Store) -> None:
    old, new = put(store, A, days=3, filler=5000), put(store, B, days=1, filler=5000)
    checkpoint(store, C, days=2, size=4000)
    checkpoint(store, D, days=1, size=4000)
    held = size_of(store.root)
    assert going(chosen(store, Limits(size=held)), "checkpoint") == []
    found = chosen(store, Limits(size=held - 100))
    assert (going(found, "checkpoint"), going(found)) == ([C], []), "the one that was not used for longest"
    found = chosen(store, Limits(size=held - 9000))
    assert (going(found, "checkpoint"), going(found)) == ([C, D], [f"{A}.1"]), "then the oldest record"
    assert found.over == 0 and found.held - found.freed <= held - 9000
    found = chosen(store, Limits(size=0))
    assert going(found) == [f"{A}.1", f"{B}.1"]
    assert found.over == size_of(store.cache) - sum(i.size for i in found.going if i.kind == "checkpoint")
    assert old.exists() and new.exists(), "choosing removes nothing"


def test_checkpoints_alone(store: Store) -> None:
    put(store, A, days=90)
    checkpoint(store, A, days=90)
    found = chosen(store, Limits(seconds=DAY, cached=True))
    assert (going(found), going(found, "checkpoint")) == ([], [A])


def test_one_suite_alone(store: Store) -> None:
    put(store, A, days=90, suite="s")
    put(store, B, days=90, suite="other")
    put(store, C, days=90, suite="s")
    put(store, C, days=90, suite="other")
    for step in (A, B, C):
        checkpoint(store, step, days=90)
    found = chosen(store, Limits(seconds=DAY, suite="s"))
    assert going(found) == [f"{A}.1", f"{C}.1"]
    assert going(found, "checkpoint") == [A], "the other suite has C too"


def test_what_a_report_names_stays(store: Store, tmp_path: Path) -> None:
    for _ in range(3):
        put(store, A)
    page(tmp_path / "reports", "s", [("s", store.installation, f"{A}.1")])
    found = chosen(store, Limits(attempts=1), tmp_path / "reports")
    assert going(found) == [f"{A}.2"]
    assert why(found, store.record_path("s", A, 1)) == f"named by {tmp_path / 'reports' / 's'}"


def test_a_decision_and_verdicts_name_records_too(store: Store, tmp_path: Path) -> None:
    for _ in range(4):
        put(store, A)
    reports = tmp_path / "reports"
    page(reports, "verdicts", [("s", store.installation, f"{A}.2")])
    page(reports, "s", [])
    page(reports, "s/choose", [("s", store.installation, f"{A}.1")])
    assert going(chosen(store, Limits(attempts=1), reports)) == [f"{A}.3"]


def test_a_report_that_does_not_say_what_it_names_keeps_all_of_its_suite(store: Store, tmp_path: Path) -> None:
    for suite in ("s", "other"):
        put(store, A, suite=suite, days=90)
    reports = tmp_path / "reports"
    page(reports, "s", None)
    found = chosen(store, Limits(seconds=DAY), reports)
    assert going(found) == [f"{A}.2"]
    assert "does not say which records it names" in why(found, store.record_path("s", A, 1))
    page(reports, "verdicts", None)
    assert going(chosen(store, Limits(seconds=DAY), reports)) == [], "verdicts are judged by every suite"


def test_a_damaged_list_of_names_stops_everything(store: Store, tmp_path: Path) -> None:
    put(store, A)
    page(tmp_path / "reports", "s", [])
    for text in ("{", "[]", '{"format": 1}', '{"format": 1, "records": {"s": []}}', '{"format": 2, "records": {}}'):
        (tmp_path / "reports" / "s" / FILE).write_text(text)
        with pytest.raises(StoreError, match=r"records\.json"):
            chosen(store, Limits(attempts=1), tmp_path / "reports")


def test_what_a_night_names_stays(store: Store) -> None:
    paths = [put(store, A, days=days) for days in (9, 8, 7)]
    night = night_of([read(paths[1])])
    SharedStore(store.root).put(night, {f"{A}.2": paths[1]})
    found = chosen(store, Limits(attempts=1))
    assert going(found) == [f"{A}.1"]
    assert why(found, paths[1]) == "named by a night"
    (store.root / "s" / "nights" / "20260101T000000.000Z-x.json").write_text("{")
    found = chosen(store, Limits(attempts=1))
    assert going(found) == [] and "cannot be read, which may name it" in why(found, paths[0])


def test_a_night_that_is_being_measured_stays(store: Store) -> None:
    paths = [put(store, A, days=days) for days in (9, 1, 1)]
    (store.cache / "nights").mkdir()
    (store.cache / "nights" / "s.json").write_text(json.dumps({"since": read(paths[1])["started"]}))
    assert going(chosen(store, Limits(attempts=1))) == [f"{A}.1"]


def test_what_decides_a_planned_step_stays(store: Store) -> None:
    """The latest attempt, and the latest done one on each kind of machine: the next plan goes by these."""
    for status, hard in (("done", "h"), ("done", "h"), ("done", "other"), ("failed", "h"), ("crashed", "h")):
        put(store, A, status=status, hard=hard, days=90)
    put(store, B, days=90)
    assert going(chosen(store, Limits(seconds=DAY))) == [*(f"{A}.{number}" for number in range(1, 6)), f"{B}.1"]
    plan_of(store, [{"id": A, "state": "runnable"}])
    found = chosen(store, Limits(seconds=DAY))
    assert going(found) == [f"{A}.1", f"{A}.4", f"{B}.1"]
    assert why(found, store.record_path("s", A, 2)) == "decides a step of the latest plan of s"


def test_all_repeats_of_the_last_self_test_stay(store: Store) -> None:
    paths = [put(store, A, days=days) for days in (9, 3, 2, 1)]
    store.write_plan("s", {"format": 1, "steps": [], "since": read(paths[1])["started"]})
    assert going(chosen(store, Limits(attempts=1))) == [f"{A}.1"]


def test_a_damaged_plan_stops_everything(store: Store) -> None:
    put(store, A).with_name("plan.json").write_text("{")
    with pytest.raises(StoreError, match=r"plan\.json"):
        chosen(store, Limits(attempts=1))


def test_a_record_that_cannot_be_read_stays(store: Store) -> None:
    path = put(store, A)
    put(store, A)
    path.write_text(path.read_text()[:100])
    found = chosen(store, Limits(attempts=1))
    assert going(found) == [] and "cannot be read" in why(found, path)


def git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", "-C", str(folder), *arguments], check=True, capture_output=True)


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_what_git_keeps_stays(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name, raising=False)
    paths = [put(store, A) for _ in range(3)]
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", str(paths[1]))
    found = chosen(store, Limits(attempts=1))
    assert going(found) == [f"{A}.1"] and why(found, paths[1]) == "in git"
    (tmp_path / ".git" / "index").write_bytes(b"no index")
    with pytest.raises(StoreError, match=r"git cannot say what of .* is committed"):
        chosen(store, Limits(attempts=1))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StoreError, match="git is not installed"):
        chosen(store, Limits(attempts=1))


def test_a_checkpoint_that_a_waiting_step_needs_stays_with_its_parts(store: Store) -> None:
    for step in (A, B, C):
        put(store, step, days=90)
    checkpoint(store, A, days=90)
    checkpoint(store, B, days=90, parts_of=[A])
    checkpoint(store, C, days=90)
    plan_of(store, [{"id": D, "state": "runnable", "input": B}])
    found = chosen(store, Limits(seconds=DAY))
    assert going(found, "checkpoint") == [C]
    assert why(found, store.cache / "checkpoints" / B) == "a step of s that has not run yet needs it"
    assert why(found, store.cache / "checkpoints" / A) == "a checkpoint that is still needed holds parts of it"
    put(store, D)
    assert going(chosen(store, Limits(seconds=DAY)), "checkpoint") == [A, B, C], "it has run since"


def test_a_checkpoint_is_as_young_as_what_holds_parts_of_it(store: Store) -> None:
    checkpoint(store, A, days=90)
    checkpoint(store, B, days=1, parts_of=[A])
    assert going(chosen(store, Limits(seconds=30 * DAY)), "checkpoint") == []
    assert chosen(store, Limits(size=0)).kept == {}
    first, second = (item.step for item in chosen(store, Limits(size=0)).going if item.kind == "checkpoint")
    assert (first, second) == (B, A), "what others hold parts of goes after them"


def test_parts_of_another_suites_checkpoint_stay_with_it(store: Store) -> None:
    put(store, A, suite="s")
    put(store, B, suite="other")
    checkpoint(store, A, days=90)
    checkpoint(store, B, days=90, parts_of=[A])
    found = chosen(store, Limits(seconds=DAY, suite="s"))
    assert going(found, "checkpoint") == []
    assert "holds parts of it" in why(found, store.cache / "checkpoints" / A)


def test_leftovers_go_and_unsealed_folders_are_some(store: Store) -> None:
    put(store, A)
    for path in (store.cache / "partial" / f"{A}.1" / "output", store.cache / "checkpoints" / B):
        path.mkdir(parents=True)
        (path / "half").write_bytes(bytes(100))
    part = store.root / "s" / f".{A}.json.123.part"
    part.write_text("half")
    found = chosen(store, Limits())
    assert {path.name for item in found.going for path in item.paths} == {f"{A}.1", B}, "the part may have a writer"
    os.utime(part, (NOW - DAY, NOW - DAY))
    assert part in {path for item in chosen(store, Limits()).going for path in item.paths}


def gate(store: Store, name: str, *, finished: bool, days: float) -> Path:
    folder = store.root / ".gate" / name
    (folder / "base" / ".cache").mkdir(parents=True)
    (folder / "pairs.json").write_text(json.dumps({"format": 1, "finished": finished}))
    for path in (folder / "pairs.json", folder):
        os.utime(path, (NOW - days * DAY, NOW - days * DAY))
    return folder


def test_gates_go_when_they_have_told_their_verdict(store: Store) -> None:
    put(store, A)
    told, waiting, left = (gate(store, name, finished=name == "a", days=3 if name != "c" else 9) for name in "abc")
    found = chosen(store, Limits(seconds=2 * DAY))
    assert {item.paths[0] for item in found.going if item.kind == "gate"} == {told, left}
    assert "no verdict" in why(found, waiting)
    with Store(told / "base").lock():
        os.utime(told, (NOW - 3 * DAY, NOW - 3 * DAY))
        assert why(chosen(store, Limits(seconds=2 * DAY)), told) == "a gate that is running"


def everything(store: Store) -> dict[str, bytes]:
    return {
        str(path.relative_to(store.root)): path.read_bytes()
        for path in sorted(store.root.rglob("*")) if path.is_file() and path.name != "lock"
    }  # fmt: skip


def test_taking_removes_what_goes_and_nothing_else(store: Store) -> None:
    for _ in range(3):
        put(store, A)
    checkpoint(store, A, days=90)
    checkpoint(store, B, days=1)
    before, found = everything(store), chosen(store, Limits(attempts=1, seconds=0.0))
    take(store, found)
    gone = {str(path.relative_to(store.root)) for item in found.going for path in item.paths}
    left = {name: text for name, text in before.items() if not any(name.startswith(path) for path in gone)}
    assert everything(store) == left | {".cache/attempts.json": f'{{"{A}":2}}\n'.encode()}
    assert not (store.cache / "checkpoints" / A).exists()


def test_an_attempts_number_is_given_once(store: Store) -> None:
    """Names of records stand in reports and stores elsewhere: a removed one is never the name of another."""
    put(store, A, days=90)
    put(store, A, days=90)
    take(store, chosen(store, Limits(seconds=DAY)))
    assert list(store.folder("s").iterdir()) == []
    assert Store(store.root).next_attempt(A) == 3
    assert put(Store(store.root), A).name == f"{A}.3.json"
    (store.cache / "attempts.json").write_text("{")
    with pytest.raises(StoreError, match=r"attempts\.json is damaged"):
        Store(store.root).next_attempt(A)


class Killed(BaseException):
    """What SIGKILL is to a test: nothing after it runs."""


def test_killed_anywhere_it_leaves_each_thing_whole_or_gone(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every call that changes a folder is the last one once; the next cleaning ends where an undisturbed one does."""
    for _ in range(3):
        put(store, A, days=90)
    checkpoint(store, A, days=90)
    checkpoint(store, B, days=80, parts_of=[A])
    log(store, A, 1, days=90)
    gate(store, "a", finished=True, days=90)
    page(tmp_path / "reports", "s", [("s", store.installation, f"{A}.2")])
    whole = tmp_path / "whole"
    shutil.copytree(store.root, whole)
    named = store.record_path("s", A, 2).relative_to(store.root)

    def cleaned(root: Path) -> None:
        items = stock(Store(root))
        kept = reasons(Store(root), items, [tmp_path / "reports"])
        take(Store(root), choose(items, kept, Limits(seconds=DAY), size_of(root), NOW))

    undisturbed = tmp_path / "undisturbed"
    shutil.copytree(whole, undisturbed)
    cleaned(undisturbed)
    calls = 0
    for last in range(1, 100):
        root = tmp_path / f"killed-{last}"
        shutil.copytree(whole, root)
        calls = 0

        def counted(real: Any) -> Any:
            def call(*arguments: Any, **options: Any) -> Any:
                nonlocal calls
                calls += 1
                if calls > last:  # noqa: B023
                    raise Killed
                return real(*arguments, **options)

            return call

        with monkeypatch.context() as patched:
            for owner, name in ((os, "rename"), (os, "unlink"), (os, "rmdir"), (Path, "rename"), (Path, "unlink")):
                patched.setattr(owner, name, counted(getattr(owner, name)))
            with contextlib.suppress(Killed):
                cleaned(root)
        for folder in (root / ".cache" / "checkpoints").iterdir():
            assert folder.name.startswith(made.GONE) or is_sealed(root / ".cache", folder.name)
        assert read(root / named)["attempt"] == 2
        assert Store(root).next_attempt(A) == 4
        cleaned(root)
        assert everything(Store(root)) == everything(Store(undisturbed))
        assert {path.name for path in root.rglob("*")} == {path.name for path in undisturbed.rglob("*")}
        if calls <= last:
            break
    assert calls >= 10, "every kind of thing was taken away"


def test_a_link_is_taken_away_and_not_what_it_leads_to(store: Store, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "dear").write_text("kept")
    folder = checkpoint(store, A, days=90)
    (folder / "model" / "link").symlink_to(elsewhere)
    (store.cache / "partial").mkdir()
    (store.cache / "partial" / "link").symlink_to(elsewhere)
    (store.cache / "checkpoints" / B).symlink_to(elsewhere)
    take(store, chosen(store, Limits(seconds=DAY)))
    assert not folder.exists() and (elsewhere / "dear").read_text() == "kept"
    assert not (store.cache / "partial" / "link").is_symlink()


def test_what_cannot_be_removed_is_one_line(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(store, A, days=90)
    path.parent.rename(path.parent.with_name("elsewhere"))  # of another installation, whose numbers are not given here

    def refused(path: Path, *_arguments: Any, **_options: Any) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    found = chosen(store, Limits(seconds=DAY))
    monkeypatch.setattr(Path, "unlink", refused)
    with pytest.raises(StoreError, match=r"cannot remove .*: Permission denied; 0 of 1 things were removed"):
        take(store, found)


def test_limits_are_pure(store: Store) -> None:
    """The choice is a function of what it is given: the same items in another order go the same way."""
    for days in (5, 4, 3):
        put(store, A, days=days)
    items = stock(store)
    one = choose(items, {}, Limits(attempts=1), 0, NOW)
    other = choose(items[::-1], {}, Limits(attempts=1), 0, NOW)
    assert set(one.going) == set(other.going) and len(one.going) == 2
    assert all(isinstance(item, Item) for item in one.going) and clean.CACHED == ("checkpoint", "artefact")
