"""``plan.json`` says in columns what the plan says in rows; what is damaged is told, and old files are read."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from harness import specimen
from harness.plain_json import NotPlain
from harness.plan.machine import Machine
from harness.plan.plan import plan
from harness.plan.suite import load_text
from harness.results import plan_file
from harness.results.shape import misfit_of_plan

ROOT = Path(__file__).resolve().parents[2]
MIXED = """
question: Everything that a plan may hold
method: [base, "lora(rank=[4, 16])", "lora > int8", lora + gradient_checkpointing]
hardware: [{device: cpu, threads: 2}, cuda]
tasks: [perplexity, generation_speed]
seed: [0, 1]
budget: {steps: 10}
"""


@pytest.fixture(scope="module")
def mixed() -> dict[str, Any]:
    return plan(load_text(MIXED), machine=Machine(4, 0)).to_dict()


def back(text: str, tmp_path: Path) -> Any:
    path = tmp_path / "plan.json"
    path.write_text(text)
    return plan_file.read(path)


def as_json(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def test_a_plan_comes_back_as_it_was(mixed: dict[str, Any], tmp_path: Path) -> None:
    assert {step["state"] for step in mixed["steps"]} == {"runnable", "skipped"}
    assert as_json(back(plan_file.text_of(mixed), tmp_path)) == as_json(mixed)


@pytest.mark.parametrize("path", sorted(ROOT.glob("results/*/*/plan.json")), ids=lambda path: path.parts[-3])
def test_plans_of_committed_results_are_read_and_come_back(path: Path, tmp_path: Path) -> None:
    found = plan_file.read(path)
    assert found["steps"] and misfit_of_plan(found) is None
    assert as_json(back(plan_file.text_of(found), tmp_path)) == as_json(found)


def test_values_that_python_takes_for_equal_stay_what_they_are(tmp_path: Path) -> None:
    values = [1, True, 1.0, "1", "true", None, "null", "'1", {"a": 1}, {"a": True}, [], {}, "", 0, False] * 3
    rows = [{"id": str(number), "value": value} for number, value in enumerate(values)]
    assert as_json(back(plan_file.text_of({"steps": rows}), tmp_path)["steps"]) == as_json(rows)


def test_rows_of_several_kinds_and_none_are_written_as_they_are(tmp_path: Path) -> None:
    for rows in ([], [{"id": "a"}, {"id": "b", "more": 1}], [{"id": "a", "in": {"x": 1}}, {"id": "b", "in": {"y": 1}}]):
        assert back(plan_file.text_of({"steps": rows}), tmp_path)["steps"] == rows


def test_a_plan_of_many_cells_takes_a_tenth(tmp_path: Path) -> None:
    """600 bytes a cell, of which ids are a third: 100 000 cells are 60 MB, below the 256 MB that a JSON may have."""
    made = plan(load_text(specimen.suite(1000)), machine=Machine(4, 0)).to_dict()
    text = plan_file.text_of(made)
    assert len(text) < 650 * len(made["cells"]) < len(json.dumps(made)) / 5
    assert as_json(back(text, tmp_path)) == as_json(made)


def test_secrets_are_masked_and_their_neighbours_are_not(tmp_path: Path) -> None:
    token = "hf_" + "A1b2" * 9
    rows = [
        {"id": "--token", "params": {"password": "quite-secret"}}, {"id": "innocent", "params": {"password": token}},
    ]  # fmt: skip
    text = plan_file.text_of({"question": f"with {token}?", "steps": rows})
    assert token not in text and "quite-secret" not in text
    assert [row["id"] for row in back(text, tmp_path)["steps"]] == ["--token", "innocent"]


DAMAGE = {
    "rows": [-1, 2.0, True, None, "3", 10**9, 10**18, 1],
    "columns": [{}, [], None, 3, "x"],
    "id": [
        [], ["a"], {}, {"values": ["a"], "rows": [0]}, {"values": [], "rows": [0] * 9}, {"rows": []}, 3, None, "abc",
    ],
    "state": [
        {"values": ["a"], "rows": [0, 1, 0]}, {"values": ["a"], "rows": [0, -1, 0]},
        {"values": {"0": "a"}, "rows": [0] * 3}, {"values": ["a"], "rows": [0, 0, True]},
        {"values": ["a"], "rows": "000"}, {"values": ["a"], "rows": [0, 0, 0.0]},
        {"values": ["a"], "rows": [0] * 3, "more": 1}, {"columns": {}}, {"columns": {"a": [1, 2]}}, {"columns": 3},
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("where", "what"), [(where, what) for where, each in DAMAGE.items() for what in each], ids=repr
)  # fmt: skip
def test_a_damaged_table_is_told(where: str, what: Any, tmp_path: Path) -> None:
    rows = [{"id": name, "state": "done"} for name in "abc"]
    told = json.loads(plan_file.text_of({"steps": rows}))
    assert back(json.dumps(told), tmp_path)["steps"] == rows
    damaged = copy.deepcopy(told)
    (damaged["steps"] if where in damaged["steps"] else damaged["steps"]["columns"])[where] = what
    with pytest.raises(NotPlain, match="a table in it is damaged"):
        back(json.dumps(damaged), tmp_path)


def test_a_newer_plan_is_told(tmp_path: Path) -> None:
    for version in (3, "2", None, [2], 1e300):
        with pytest.raises(NotPlain, match="newer version"):
            back(json.dumps({"format": version}), tmp_path)
