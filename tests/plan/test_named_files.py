"""What a task names in files: found from the suite's folder, in a step's id by content, in a job with its path."""

from __future__ import annotations

import json

import pytest

from harness.errors import SuiteError
from harness.plan.job import jobs
from harness.plan.plan import plan
from harness.plan.suite import load, load_text

SUITE = """
name: downstream
question: x?
method: base
model: embedded
tasks: ["lm_eval(task=./tasks/pairs.yaml, limit=[5, 10])", lm_eval(task=arc_easy), perplexity]
"""
TASK = """
task: pairs
dataset_path: json
dataset_kwargs: {data_files: {test: ../rows.jsonl}}
output_type: multiple_choice
metric_list: [{metric: acc}]
"""


@pytest.fixture
def suite(tmp_path):
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "pairs.yaml").write_text(TASK)
    (tmp_path / "rows.jsonl").write_text('{"a": 1}\n')
    (tmp_path / "suite.yaml").write_text(SUITE)
    return tmp_path / "suite.yaml"


def steps(file):
    return {step.task.text: step for step in plan(load(file)).steps}


def test_the_content_is_in_the_id_and_the_place_is_not(suite, tmp_path_factory):
    before = {text: step.id for text, step in steps(suite).items()}
    assert set(before) == {"lm_eval(task=./tasks/pairs.yaml, limit=5)", "lm_eval(task=./tasks/pairs.yaml, limit=10)",
                           "lm_eval(task=arc_easy)", "perplexity"}  # fmt: skip
    other = tmp_path_factory.mktemp("other")
    for file in ("suite.yaml", "rows.jsonl", "tasks/pairs.yaml"):
        (other / file).parent.mkdir(exist_ok=True)
        (other / file).write_bytes((suite.parent / file).read_bytes())
    assert {text: step.id for text, step in steps(other / "suite.yaml").items()} == before
    (suite.parent / "rows.jsonl").write_text('{"a": 2}\n')
    after = {text: step.id for text, step in steps(suite).items()}
    changed = {text for text in before if before[text] != after[text]}
    assert changed == {text for text in before if "./tasks" in text}


def test_a_job_says_where_the_file_is(suite):
    found = {job["coordinates"]["task"]: job for job in jobs(plan(load(suite)))}
    task = found["lm_eval(task=./tasks/pairs.yaml, limit=5)"]["task"]
    assert task["paths"] == {"task": str(suite.parent / "tasks" / "pairs.yaml")} and len(task["content"]["task"]) == 16
    assert set(found["lm_eval(task=arc_easy)"]["task"]["content"]) == {"lm_eval"}
    assert not {"paths", "content"} & set(found["perplexity"]["task"])
    assert json.dumps(task)


@pytest.mark.parametrize(
    ("tasks", "said"),
    [
        ('["lm_eval(task=./none.yaml)"]', r"suite\.yaml:6: task file 'none\.yaml' does not exist"),
        ("[lm_eval]", "suite.yaml:6: 'lm_eval' needs the parameter 'task'"),
        ('["lm_eval(task=./tasks/code.yaml)"]', "names Python code"),
        ('["lm_eval(task=arc_easy, rules=mine)"]', "must be one of lm_eval, harness"),
    ],
)
def test_what_cannot_be_used_has_a_line(suite, tasks, said):
    (suite.parent / "tasks" / "code.yaml").write_text(TASK + "process_docs: !function code.docs\n")
    (suite.parent / "tasks" / "code.py").write_text("raise SystemExit('it was imported')\n")
    text = SUITE.split("tasks:")[0] + f"tasks: {tasks}\n"
    with pytest.raises(SuiteError, match=said):
        load_text(text, folder=suite.parent)


def test_without_lm_eval_it_is_skipped_with_the_command(suite, monkeypatch):
    from harness import catalogue

    plain = catalogue._installed
    monkeypatch.setattr(catalogue, "_installed", lambda name: name != "lm_eval" and plain(name))
    found = steps(suite)
    told = found["lm_eval(task=arc_easy)"]
    assert told.state == "skipped"
    assert told.reason == "lm_eval: package 'lm_eval' is not installed (pip install lm-eval)"
    assert found["perplexity"].state == "runnable"
