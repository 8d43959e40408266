"""A machine that has torch, transformers and peft, and neither pydantic, typer, trl, bitsandbytes nor lm-eval.

It runs job files that were planned elsewhere; what a step lacks there is said and the step is skipped.
"""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
# deepspeed needs pydantic itself, and accelerate imports it wherever it lies.
LACKING = ("pydantic", "deepspeed", "typer", "rich", "trl", "bitsandbytes", "lm_eval", "pynvml", "nvidia_ml")
SUITE = """
name: lean
model: embedded
data: rows
data_sets: {rows: {path: rows.jsonl, view: instructions}}
hardware: {device: cpu, threads: 1}
budget: {steps: 2, batch_size: 2, sequence_length: 64, evaluations: 1}
method: [base, lora, qlora, sft]
tasks: ["perplexity(view=instructions, windows=2)", "lm_eval(task=./task.yaml)"]
"""
TASK = """
task: one
dataset_path: json
dataset_kwargs: {data_files: {test: task.jsonl}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{q}}"
doc_to_choice: "{{o}}"
doc_to_target: 0
metric_list: [{metric: acc}]
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter that sees this one's packages but for ``LACKING``."""
    folder = tmp_path_factory.mktemp("lean")
    seen = folder / "seen"
    seen.mkdir()
    for item in Path(sysconfig.get_paths()["purelib"]).iterdir():
        if not item.name.startswith((*LACKING, "__editable__")) and item.suffix != ".pth":
            (seen / item.name).symlink_to(item)
    venv.create(folder / "venv", symlinks=True)
    (site,) = (folder / "venv").glob("lib/python*/site-packages")
    (site / "lean.pth").write_text(f"{seen}\n{ROOT}\n")
    return folder / "venv" / "bin" / "python"


@pytest.fixture(scope="module")
def todo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Job files, written where everything is installed."""
    folder = tmp_path_factory.mktemp("planned")
    rows = [{"prompt": f"def add_{number}(a):\n", "answer": f"    return a + {number}\n"} for number in range(60)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "task.jsonl").write_text(json.dumps({"q": "def f(", "o": ["self", "return"]}) + "\n")
    (folder / "task.yaml").write_text(TASK)
    (folder / "suite.yaml").write_text(SUITE)
    command = [sys.executable, "-m", "harness", "plan", "suite.yaml", "--jobs", "todo"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=120)
    return folder / "todo"


def command(python: Path, *arguments: object, folder: Path) -> Any:
    return subprocess.run(
        [str(python), "-m", "harness", *map(str, arguments)], cwd=folder, capture_output=True, text=True, timeout=280
    )


def test_what_needs_a_plan_says_what_is_missing(python: Path, tmp_path: Path) -> None:
    for arguments in (("plan", "quick"), ("run", "quick"), ("--help",), (), ("run", "--job")):
        done = command(python, *arguments, folder=tmp_path)
        assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
        assert "package 'pydantic' is not installed (pip install pydantic)" in done.stderr
        assert "here only `harness run --job FILE` works" in done.stderr
    gone = command(python, "run", "--job", "none.json", folder=tmp_path)
    assert gone.returncode == 2 and "job file none.json cannot be read" in gone.stderr


@pytest.mark.slow  # torch is imported for what can be measured
def test_jobs_run_and_what_is_missing_is_skipped_with_its_name(python: Path, todo: Path) -> None:
    ended: dict[tuple[str, str], tuple[str, str]] = {}
    for file in sorted(todo.glob("[0-9]*.json")):
        done = command(python, "run", f"--job={file}", "--json", folder=todo)
        record = json.loads(done.stdout)
        assert done.returncode == (0 if record["status"] in ("done", "skipped") else 1)
        where = record["coordinates"]
        ended[where["method"], where["task"] or record["operation"]] = record["status"], record["reason"] or ""
    tasks = ("perplexity(view=instructions, windows=2)", "lm_eval(task=./task.yaml)")
    assert len(ended) == 4 * 2 + 3
    for method in ("base", "lora"):
        assert ended[method, tasks[0]][0] == "done", ended[method, tasks[0]]
        assert ended[method, tasks[1]] == ("skipped", "package 'lm_eval' is not installed (pip install lm-eval)")
    assert ended["lora", "train"][0] == "done"
    for method, package in (("qlora", "bitsandbytes"), ("sft", "trl")):
        for what in ("train", *tasks):
            status, reason = ended[method, what]
            assert status == "skipped" and f"package '{package}' is not installed (pip install {package})" in reason
