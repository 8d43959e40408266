"""A suite with tasks of lm-eval: run, compared item by item, reported; measured again when the task's data change."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from harness import environments

pytest.importorskip("lm_eval", reason="pip install lm-eval")
pytestmark = pytest.mark.slow

SUITE = """
name: downstream
question: What does rounding cost on a task of one's own?
model: embedded
hardware: {{device: cpu, threads: 1}}
method: [{methods}]
tasks: ["lm_eval(task=./choose.yaml)", "lm_eval(task=./rolling.yaml, rules=harness)"]
"""
TASK = """
dataset_path: json
dataset_kwargs: {data_files: {test: rows.jsonl}}
test_split: test
"""
CHOOSE = TASK + """
task: choose
output_type: multiple_choice
doc_to_text: "{{text}}"
doc_to_choice: "{{[right, wrong]}}"
doc_to_target: 0
target_delimiter: ""
metric_list: [{metric: acc}]
"""
ROLLING = TASK + """
task: rolling
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{text}}{{right}}"
metric_list: [{metric: bits_per_byte}]
"""


@pytest.fixture
def methods():
    """Llama.cpp too, where its environment is set up."""
    return ["base", "rtn(bits=3)", *(["gguf(type=Q8_0)"] if environments.lacking("gguf") is None else [])]


@pytest.fixture
def folder(tmp_path, methods):
    names = ("reader", "total", "names", "values", "parts", "width", "level", "state")
    rows = [
        {"text": f"def set_{one}(self, {one}):\n    self.", "right": f"{one} = {one}\n", "wrong": f"{one} = {two}\n"}
        for one in names for two in names if one != two
    ]  # fmt: skip
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "choose.yaml").write_text(CHOOSE)
    (tmp_path / "rolling.yaml").write_text(ROLLING)
    (tmp_path / "suite.yaml").write_text(SUITE.format(methods=", ".join(f'"{one}"' for one in methods)))
    return tmp_path


def harness(folder, *arguments, codes=(0,)):
    variables = {**os.environ, "HARNESS_REMEASURE": "0"}
    command = [sys.executable, "-m", "harness", *arguments]
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True)
    assert done.returncode in codes, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def test_a_suite_of_downstream_tasks(folder, methods):
    harness(folder, "run", "suite.yaml", "--results", "results", "--reports", "reports")
    records = [json.loads(file.read_text()) for file in sorted((folder / "results" / "downstream").rglob("*.1.json"))]
    scored = {(one["coordinates"]["method"], one["observed"]["lm_eval"]["name"]): one
              for one in records if one["operation"] == "eval"}  # fmt: skip
    assert set(scored) == {(method, task) for method in methods for task in ("choose", "rolling")}
    for (_, task), record in scored.items():
        columns = record["items"]["lm_eval"]
        assert record["status"] == "done" and set(columns) == {
            "choose": {"item", "acc"}, "rolling": {"item", "nll", "bytes"},
        }[task]  # fmt: skip
        assert len(columns["item"]) == 56
        assert record["job"]["task"]["paths"] == {"task": f"{task}.yaml"}, "no folder of this machine in a record"
    accuracy = [scored[method, "choose"]["metrics"]["lm_eval_acc"] for method in methods]
    assert accuracy[0] > 0.7 and min(accuracy) > 0.4
    page = (folder / "reports" / "downstream" / "README.md").read_text()
    assert "lm-eval acc" in page and "lm-eval bits_per_byte" in page
    first, second = scored[methods[0], "rolling"], scored[methods[1], "rolling"]
    assert first["metrics"]["lm_eval_bits_per_byte"] < second["metrics"]["lm_eval_bits_per_byte"]
    arguments = ("compare", "method=base", f"method={methods[1]}", "--results", "results", "--json")
    told = harness(folder, *arguments, codes=(1,))  # three bits are worse
    (bits,) = [one for one in json.loads(told)["cases"] if one["metric"] == "lm_eval_bits_per_byte"]
    assert bits["status"] == "regression" and 0 < bits["low"] < bits["high"], "compared item by item"
    assert "0 to run" in harness(folder, "plan", "suite.yaml", "--results", "results")
    with (folder / "rows.jsonl").open("a") as stream:
        stream.write(json.dumps({"text": "x = ", "right": "1\n", "wrong": "def\n"}) + "\n")
    planned = harness(folder, "plan", "suite.yaml", "--results", "results")
    assert f"{2 * len(methods)} to run" in planned or " to run, 0 done" in planned
