"""``harness clean`` from the outside: what it says, what it removes, when it refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from harness.cli.commands import app
from harness.errors import HarnessError, StoreError, UsageError
from harness.results.record import blank
from harness.results.store import Store
from harness.run.claims import Claims

A = "aaaaaaaaaaaaaaaa"


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Three attempts of one step, begun at the beginning of 2026."""
    monkeypatch.chdir(tmp_path)
    store = Store("results")
    for attempt in (1, 2, 3):
        job = {"step": A, "attempt": attempt, "suite": "s", "operation": "eval", "coordinates": {}}
        store.write_record(blank(job, "done") | {"started": "2026-01-01T00:00:00.000Z"})
    return store


def run(*arguments: str, code: int = 0) -> Result:
    done = CliRunner().invoke(app, ["clean", *arguments])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == code, done.output
    return done


def left(store: Store) -> list[str]:
    return sorted(path.name for path in store.folder("s").glob("*.json"))


def test_without_limits_it_says_what_is_there(store: Store) -> None:
    output = run().output
    assert "3 records" in output and "--keep-attempts, --older-than, --max-size" in output
    assert len(left(store)) == 3


def test_nothing_is_removed_without_yes(store: Store) -> None:
    output = run("--keep-attempts", "1").output
    assert "would go:\n  2 records" in output and "the same command with --yes does it" in output
    assert len(left(store)) == 3


def test_yes_removes_it(store: Store) -> None:
    assert "removed:\n  2 records" in run("--keep-attempts", "1", "--yes").output
    assert left(store) == [f"{A}.3.json"]
    assert "nothing goes under these limits" in run("--keep-attempts", "1").output


def test_json_says_all_of_it(store: Store) -> None:
    found = json.loads(run("--keep-attempts", "2", "--json").output)
    assert [one["paths"] for one in found["goes"]] == [[f"s/{store.installation}/{A}.1.json"]]
    assert found["freed_bytes"] == store.record_path("s", A, 1).stat().st_size and found["removed"] is False
    assert found["holds"]["record"]["count"] == 3
    assert found["stays"] == [
        {"kind": "record", "why": "among the last 2 of its step", "count": 2, "bytes": 2 * found["freed_bytes"]}
    ]


def test_a_size_that_cannot_be_reached_is_told_and_the_exit_code_says_so(store: Store) -> None:
    plan = {"format": 1, "cells": [], "steps": [{"id": A, "state": "runnable"}]}
    store.write_plan("s", plan)
    done = run("--max-size", "500B", "--yes", code=1)
    assert left(store) == [f"{A}.3.json", "plan.json"]
    assert "decides a step of the latest plan of s" in done.output
    assert "more than --max-size: what may not go is listed above" in done.output


def test_another_run_on_the_folder_refuses_it(store: Store) -> None:
    with store.lock(), pytest.raises(StoreError, match="another run is using results folder results"):
        run("--keep-attempts", "1", "--yes")
    run("--keep-attempts", "1")
    assert len(left(store)) == 3


def test_a_living_claim_refuses_it_and_a_stale_one_does_not(store: Store) -> None:
    """A claim may be of a launcher on another machine, whose lock is not seen here."""
    claims = Claims(store.cache / "claims")
    assert claims.take(A)
    with pytest.raises(StoreError, match=f"a run on another machine is using results folder results .step {A}."):
        run("--keep-attempts", "1", "--yes")
    claims.release(A)
    code = (
        "from pathlib import Path; from harness.run.claims import Claims;"
        f"Claims(Path('results/.cache/claims')).take('{A}')"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert (store.cache / "claims" / f"{A}.json").is_file()
    run("--keep-attempts", "1", "--yes")
    assert left(store) == [f"{A}.3.json"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nowhere",), "no results for suite 'nowhere'"),
        (("--older-than", "long"), "'long' is no duration"),
        (("--max-size", "much"), "'much' is no amount"),
        (("--results", "elsewhere"), "results folder elsewhere does not exist"),
    ],
)
def test_what_cannot_be_meant_is_one_line(store: Store, arguments: tuple[str, ...], said: str) -> None:
    with pytest.raises(UsageError, match=said) as raised:
        run(*arguments)
    assert isinstance(raised.value, HarnessError) and "\n" not in str(raised.value)


def test_asking_makes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").mkdir()
    run()
    assert list((tmp_path / "results").iterdir()) == []
