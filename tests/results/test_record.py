"""Records: complete or not there, never NaN, never of a newer format, never written twice."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.errors import StoreError
from harness.results.record import FORMAT, STATUSES, NewerFormat, blank, from_text, read, write

JOB = {
    "step": "0123456789abcdef", "attempt": 1, "suite": "s", "operation": "eval", "coordinates": {"method": "base"},
    "cache": "/somewhere/.cache", "record": "/somewhere/r.json", "log": "/somewhere/l", "hardware": {"device": "cpu"},
    "context": {"installation": "abc", "commit": {"sha": "1", "dirty": True}, "command": ["harness", "run"]},
    "model": {"kind": "folder", "path": "/somewhere/model", "fingerprint": "f"},
    "data": {"kind": "local", "split": {"train": "/somewhere/a.jsonl"}, "columns": {"text": ["a", "b"]}},
}  # fmt: skip


def record(**changes: Any) -> dict[str, Any]:
    return blank(JOB, "done") | changes


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    written = record(metrics={"perplexity": 5.5}, flags=["é"])
    write(tmp_path / "new" / "r.json", written)
    assert read(tmp_path / "new" / "r.json") == written
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["r.json"]


def test_a_record_holds_the_job_without_its_paths() -> None:
    assert "/somewhere" not in json.dumps(record())
    assert record()["job"]["hardware"] == {"device": "cpu"}
    assert record()["job"]["data"] == {**JOB["data"], "split": {"train": "a.jsonl"}}
    assert record()["job"]["model"] == {"kind": "folder", "path": "model", "fingerprint": "f"}
    assert record()["commit"] == {"sha": "1", "dirty": True}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_none_makes_the_record_invalid_and_is_named(tmp_path: Path, value: float) -> None:
    path = tmp_path / "r.json"
    write(path, record(metrics={"loss": value, "perplexity": 1.0}, samples={"step_seconds": [1.0, value]}))
    found = read(path)
    assert found["status"] == "invalid"
    assert f"metrics.loss is {value}" in found["reason"]
    assert "samples.step_seconds[1]" in found["reason"]
    assert found["metrics"] == {"loss": None, "perplexity": 1.0}
    assert "NaN" not in path.read_text()
    assert "Infinity" not in path.read_text()


def test_every_flipped_bit_and_every_cut_is_found(tmp_path: Path) -> None:
    """Each of the bits of a record, one at a time, and each of its beginnings: refused, whatever JSON makes of it."""
    path = tmp_path / "r.json"
    write(path, record(metrics={"perplexity": 5.5}))
    whole = path.read_bytes()
    for bit in range(8 * len(whole)):
        changed = bytearray(whole)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(StoreError):
            from_text(bytes(changed), path)
    for length in range(len(whole)):
        with pytest.raises(StoreError):
            from_text(whole[:length], path)
    for added in (b"\0", b"\n", b" ", whole):
        with pytest.raises(StoreError):
            from_text(whole + added, path)
    assert from_text(whole, path)["metrics"] == {"perplexity": 5.5}


def test_the_digest_is_that_of_the_text_before_it(tmp_path: Path) -> None:
    """By another tool: sha256sum over all but the last 78 bytes."""
    path = tmp_path / "r.json"
    write(path, record())
    found = subprocess.run(["sh", "-c", f"head -c -78 {path} | sha256sum"], capture_output=True, text=True, check=True)
    assert json.loads(path.read_text())["digest"] == found.stdout.split()[0]


def test_a_record_of_the_first_format_needs_no_digest(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_text(json.dumps(record() | {"format": 1}))
    assert read(path)["format"] == 1
    path.write_text(json.dumps(record()))
    with pytest.raises(StoreError, match="its end is missing"):
        read(path)


def test_nesting_without_end_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_text("[" * 200_000)
    with pytest.raises(StoreError, match="nested more than 100 deep"):
        read(path)


def test_a_failure_stays_a_failure_beside_a_nan(tmp_path: Path) -> None:
    write(tmp_path / "r.json", record(status="failed", reason="why", metrics={"loss": math.nan}))
    assert read(tmp_path / "r.json")["reason"] == "why"


def test_a_record_is_never_overwritten(tmp_path: Path) -> None:
    write(tmp_path / "r.json", record())
    with pytest.raises(StoreError, match="exists already"):
        write(tmp_path / "r.json", record(status="failed"))
    assert read(tmp_path / "r.json")["status"] == "done"


def test_a_newer_format_is_named_with_file_and_version(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_text(json.dumps(record(format=FORMAT + 6)))
    with pytest.raises(NewerFormat, match=rf"r\.json has format {FORMAT + 6}, this harness reads up to {FORMAT}"):
        read(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"status": "finished"}, "unknown status 'finished'"),
        ({"operation": "serve"}, "unknown operation 'serve'"),
        ({"metrics": []}, "'metrics' has the wrong type"),
        ({"format": "1"}, "no format number"),
    ],
)
def test_a_wrong_record_is_refused_on_both_sides(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = tmp_path / "r.json"
    path.write_text(json.dumps(record(**change)))
    with pytest.raises(StoreError, match=message):
        read(path)
    with pytest.raises(StoreError, match=message):
        write(tmp_path / "other.json", record(**change))
    assert not (tmp_path / "other.json").exists()


def test_a_missing_field_is_named(tmp_path: Path) -> None:
    content = record()
    del content["spans"]
    (tmp_path / "r.json").write_text(json.dumps(content))
    with pytest.raises(StoreError, match="'spans' is missing"):
        read(tmp_path / "r.json")


def test_half_a_file_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text(json.dumps(record())[:100])
    with pytest.raises(StoreError, match=r"r\.json is not valid JSON"):
        read(tmp_path / "r.json")


def test_the_statuses_are_the_closed_list() -> None:
    assert STATUSES == (
        "done", "failed", "skipped", "crashed", "timeout", "out_of_memory", "interrupted", "invalid",
    )  # fmt: skip


def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path) -> None:
    code = (
        "import resource, signal, sys, json; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
        "from pathlib import Path; from harness.results.record import write; from harness.errors import StoreError\n"
        "try: write(Path(sys.argv[1]), json.loads(sys.argv[2]))\n"
        "except StoreError as error: print(error)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "r.json"), json.dumps(record())]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "cannot write" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_command_keeps_no_folder_of_the_machine() -> None:
    told = ["harness", "run", "suites/x.yaml", "--results", "/home/somebody/results"]
    job = {"step": "a", "attempt": 1, "suite": "s", "operation": "eval", "coordinates": {},
           "context": {"command": told}}  # fmt: skip
    assert blank(job, "done")["command"] == ["harness", "run", "suites/x.yaml", "--results", "results"]
