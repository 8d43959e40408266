"""The store: what is done, what comes next, what is unreadable, and where it cannot write."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from harness.errors import StoreError
from harness.results.record import FORMAT, NewerFormat, blank, read, to_text
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
    theirs = read(good)
    theirs["environment"]["installation"] = "elsewhere"
    (other / f"{STEP}.1.json").write_text(to_text(theirs))
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
    store.write_plan("s", {"cells": []})
    nights = tmp_path / "s" / "nights"
    nights.mkdir()
    for name in (good.name, "plan.json"):
        (nights / name).write_text("{")
    assert store.suites() == ["s"] and store.installations("s") == [good.parent]
    assert [one["step"] for one in store.records("s").records] == [STEP] and store.records("s").quarantined == []
    assert list(store.plans("s")) == [store.installation]


def test_a_newer_record_is_quarantined_and_stops_a_run(tmp_path: Path) -> None:
    """Reading goes on without it and says so; an older harness does not measure beside it."""
    path = put(Store(tmp_path))
    put(Store(tmp_path))
    path.write_text(to_text(read(path) | {"format": FORMAT + 1}))
    found = Store(tmp_path).records("s")
    assert len(found.records) == 1
    assert found.newer == [path]
    assert f"format {FORMAT + 1}" in found.quarantined[0][1]
    with pytest.raises(NewerFormat, match=f"format {FORMAT + 1}"):
        Store(tmp_path).check_readable("s")


def test_a_copy_is_no_second_measurement(tmp_path: Path) -> None:
    path = put(Store(tmp_path))
    (path.parent / f"{STEP}.2.json").write_text(path.read_text())
    (tmp_path / "s" / "zzz").mkdir()
    (tmp_path / "s" / "zzz" / path.name).write_text(path.read_text())
    found = Store(tmp_path).records("s")
    assert len(found.records) == 1
    reasons = [reason for _, reason in found.quarantined]
    assert f"holds record {STEP}.1: a copy under another name" in reasons[0]
    assert f"is a copy of {path.parent.name}/{path.name}" in reasons[1]


def test_what_another_launcher_wrote_is_news_once(tmp_path: Path) -> None:
    mine, theirs = Store(tmp_path), Store(tmp_path)
    assert theirs.next_attempt(STEP) == 1
    put(mine)
    assert mine.news_of(STEP) is None
    assert theirs.news_of(STEP) is not None  # its listing is older
    put(theirs, suite="t")
    assert mine.next_attempt(STEP) == 2
    news = mine.news_of(STEP)
    assert news is not None
    assert news["attempt"] == 2
    assert mine.news_of(STEP) is None
    assert mine.next_attempt(STEP) == 3


def test_of_many_first_runs_one_names_the_installation(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        names = set(pool.map(lambda _: Store(tmp_path).installation, range(64)))
    assert len(names) == 1
    assert [path.name for path in (tmp_path / ".cache").iterdir()] == ["installation"]


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
    store.write_plan("s", {"cells": []})
    path = store.write_plan("s", {"cells": [], "steps": []})
    assert json.loads(path.read_text()) == {"cells": [], "steps": [], "format": 2}
    assert store.plans("s") == {store.installation: {"cells": [], "steps": [], "format": 1}}


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
