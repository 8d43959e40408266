"""The store: what is done, what comes next, what is unreadable, and where it cannot write."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.errors import StoreError
from harness.results.record import NewerFormat, blank
from harness.results.store import Store

STEP = "0123456789abcdef"


def put(store: Store, step: str = STEP, *, status: str = "done", hard_id: str = "h", suite: str = "s") -> Path:
    job = {"step": step, "attempt": store.next_attempt(step), "suite": suite, "operation": "eval", "coordinates": {}}
    record: dict[str, Any] = blank(job, status)
    record["environment"]["hard_id"] = hard_id
    return store.write_record(record)


def test_the_installation_is_made_once(tmp_path: Path) -> None:
    first = Store(tmp_path).installation
    assert first == Store(tmp_path).installation
    assert first != Store(tmp_path / "other").installation


def test_done_means_done_on_the_same_hard_facts_by_this_installation(tmp_path: Path) -> None:
    store = Store(tmp_path)
    put(store, status="failed")
    assert store.find_done(STEP, "h") is None
    put(store)
    put(store, status="crashed")
    for seen in (store, Store(tmp_path)):
        found = seen.find_done(STEP, "h")
        assert found is not None
        assert found["attempt"] == 2
        assert seen.find_done(STEP, "other") is None
        assert seen.find_done(STEP, "h", "another_suite") is None
        assert seen.next_attempt(STEP) == 4
    (tmp_path / ".cache" / "installation").write_text("somewhere_else\n")
    assert Store(tmp_path).find_done(STEP, "h") is None
    assert Store(tmp_path).next_attempt(STEP) == 1


def test_attempts_are_ordered_as_numbers(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for _ in range(11):
        put(store)
    assert Store(tmp_path).find_done(STEP, "h")["attempt"] == 11


def test_records_of_all_installations_are_read_and_bad_ones_are_listed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    good = put(store)
    other = tmp_path / "s" / "elsewhere"
    other.mkdir()
    (other / f"{STEP}.1.json").write_text(good.read_text())
    (other / f"{STEP}.2.json").write_text(good.read_text()[:50])
    store.write_plan("s", {"steps": []})
    found = store.records("s")
    assert len(found.records) == 2
    ((path, reason),) = found.quarantined
    assert path.name == f"{STEP}.2.json"
    assert "not valid JSON" in reason
    assert store.records("never_run").records == []


def test_nights_lie_beside_installations_and_are_none(tmp_path: Path) -> None:
    store = Store(tmp_path)
    good = put(store)
    store.write_plan("s", {"cells": 1})
    nights = tmp_path / "s" / "nights"
    nights.mkdir()
    for name in (good.name, "plan.json"):
        (nights / name).write_text("{")
    assert store.suites() == ["s"] and store.installations("s") == [good.parent]
    assert [one["step"] for one in store.records("s").records] == [STEP] and store.records("s").quarantined == []
    assert list(store.plans("s")) == [store.installation]


def test_a_newer_record_stops_the_reading(tmp_path: Path) -> None:
    path = put(Store(tmp_path))
    path.write_text(path.read_text().replace('"format":1', '"format":2', 1))
    with pytest.raises(NewerFormat, match="format 2"):
        Store(tmp_path).records("s")


def test_a_corrupt_record_is_no_reason_to_call_a_step_done(tmp_path: Path) -> None:
    path = put(Store(tmp_path))
    path.write_text("{")
    assert Store(tmp_path).find_done(STEP, "h") is None
    assert Store(tmp_path).next_attempt(STEP) == 2


def test_checkpoints_and_artefacts_count_when_whole(tmp_path: Path) -> None:
    store = Store(tmp_path)
    folder = store.cache / "checkpoints" / STEP
    folder.mkdir(parents=True)
    assert not store.has_checkpoint(STEP)
    parts = {"model": f"checkpoints/{STEP}/model"}
    content = {"format": 1, "kind": "causal", "parts": parts, "made": ["model"], "opened_by": {}}
    (folder / "checkpoint.json").write_text(json.dumps(content))
    assert not store.has_checkpoint(STEP), "a part that it refers to is gone"
    (folder / "model").mkdir()
    assert store.has_checkpoint(STEP)
    assert not store.has_artefact(STEP)


def test_a_plan_is_replaced_and_read(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write_plan("s", {"cells": 1})
    path = store.write_plan("s", {"cells": 2})
    assert json.loads(path.read_text()) == {"cells": 2}
    assert store.plans("s") == {store.installation: {"cells": 2}}


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for root in (tmp_path / "file", Path("/proc/results"), Path("/sys/results")):
        with pytest.raises(StoreError, match=r"results folder .* cannot be written"):
            Store(root).check_writable()


def test_a_read_only_folder_is_one_line(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    tmp_path.chmod(0o500)
    with pytest.raises(StoreError, match="Permission denied"):
        Store(tmp_path / "results").check_writable()


def test_a_full_disk_is_found_before_measuring(tmp_path: Path) -> None:
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "from harness.results.store import Store; from harness.errors import StoreError\n"
        "try: Store(sys.argv[1]).check_writable()\n"
        "except StoreError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert "cannot be written" in done.stdout


def test_reading_makes_no_folder(tmp_path: Path) -> None:
    store = Store(tmp_path / "results")
    assert store.records("s").records == []
    assert store.find_done(STEP, "h") is None
    assert not (tmp_path / "results").exists()
