"""Nights are made from records and from nothing else, and what is not a night is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.errors import StoreError
from harness.results.nights import FORMAT, night_name, night_of, night_path, read_night
from harness.results.record import NewerFormat, Record, read

ROOT = Path(__file__).resolve().parents[2]
KEPT = ROOT / "results" / "nightly"


def record(step: str = "s1", attempt: int = 1, minute: int = 0, **other: Any) -> Record:
    """A whole record of a step, some minutes after three."""
    told: Record = {
        "format": 1, "record": f"{step}.{attempt}", "step": step, "attempt": attempt, "suite": "s",
        "operation": "train", "coordinates": {"method": "lora", "params": {"rank": 8}}, "job": {}, "status": "done",
        "reason": None, "started": f"2026-01-01T03:{minute:02d}:00.000Z", "wall_seconds": 1.0,
        "environment": {"installation": "i1", "hard_id": "h1", "hard": {"cores": 2}, "soft": {"environment": "main"}},
        "commit": {"sha": "a", "dirty": False}, "command": [], "spans": [], "optimizer_steps": {}, "curve": [],
        "metrics": {"tokens_per_second": 5.0, "perplexity": None}, "samples": {}, "items": {}, "observed": {},
        "flags": ["contention"], "log_tail": [],
    }  # fmt: skip
    return told | other


def test_a_night_holds_single_numbers_and_names_its_records() -> None:
    night = night_of([record()])
    (step,) = night.steps
    assert step["values"] == {"tokens_per_second": 5.0} and step["record"] == "s1.1"
    assert step["coordinates"] == {"method": "lora"} and step["flags"] == ["contention"]
    assert night.machines == {"h1": {"cores": 2}} and night.started == "2026-01-01T03:00:00.000Z"
    assert night.name == "20260101T030000.000Z-i1" == night_name(night.started, "i1")
    assert str(night_path("s", night.name)) == "s/nights/20260101T030000.000Z-i1.json"


def test_the_latest_attempt_counts_and_both_canaries_are_kept() -> None:
    canaries = [record("c", number, minute, operation="canary") for number, minute in ((1, 0), (2, 9))]
    attempts = [record("s1", 1, 2, status="crashed"), record("s1", 2, 5)]
    night = night_of([canaries[1], *attempts, canaries[0]])
    assert [step["record"] for step in night.steps] == ["c.1", "s1.2", "c.2"]


def test_the_same_records_give_the_same_bytes_and_come_back() -> None:
    records = [record("s1", 1, 1), record("s2", 1, 2)]
    text = night_of(records).to_json()
    assert text == night_of(records[::-1]).to_json()
    assert read_night(text, "here").to_json() == text


def test_records_of_several_machines_or_none_are_no_night() -> None:
    other = record("s2", environment={"installation": "i2"})
    with pytest.raises(StoreError, match="i1 and i2"):
        night_of([record(), other])
    with pytest.raises(StoreError, match="at least one record"):
        night_of([])


def test_what_is_not_a_night_is_named_in_one_line() -> None:
    good = json.loads(night_of([record()]).to_json())
    for text, said in (
        ("{", "not valid JSON"), ("[]", "no format number"), ('{"format": 0}', "no format number"),
        ('{"format": 1}', "lacks night, suite"), (json.dumps(good | {"steps": {}}), "lacks steps"),
        (json.dumps(good | {"format": True}), "no format number"), (json.dumps(good | {"steps": [1]}), "step 1 is not"),
        (json.dumps(good | {"steps": [good["steps"][0] | {"values": {"x": "1"}}]}), "step 1 is not"),
    ):  # fmt: skip
        with pytest.raises(StoreError, match=said) as raised:
            read_night(text, "x.json")
        assert "\n" not in str(raised.value) and "x.json" in str(raised.value)
    with pytest.raises(NewerFormat, match="upgrade"):
        read_night(json.dumps(good | {"format": FORMAT + 1}), "x.json")


def test_committed_nights_are_those_of_the_committed_records() -> None:
    nights = [read_night(path.read_text(), path.name) for path in sorted((KEPT / "nights").glob("*.json"))]
    assert len(nights) >= 40
    for night in nights:
        paths = [KEPT / night.installation / f"{step['record']}.json" for step in night.steps]
        assert night_of(map(read, paths)).to_json() == night.to_json()
