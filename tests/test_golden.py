"""What users and their scripts see stays as it is until somebody changes it on purpose (UPDATE_GOLDEN=1 rewrites).

Help and plan are compared word by word, so that another version of the terminal library may draw other boxes.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from harness.results.record import read
from harness.results.rows import rows_of

ROOT = Path(__file__).resolve().parents[1]
GOLDEN = ROOT / "tests" / "golden"
COMMANDS = (
    "", "plan", "run", "report", "rows", "export", "compare", "gate", "clean", "nightly", "history", "accept",
    "list", "claims",
    "choose", "predict", "try", "doctor", "prepare", "env", "env sync", "selftest",
)  # fmt: skip
SUITE = """
question: A plan with a chain, a modifier, a reference and a skip
method: [base, "lora(rank=[4, 16])", "lora(rank=4) > int8", lora + gradient_checkpointing]
hardware: [{device: cpu, threads: 2}, cuda]
tasks: [perplexity, generation_speed]
budget: {steps: 10}
"""


def words(*arguments: str, cwd: Path = ROOT) -> list[str]:
    variables = {**os.environ, "COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "harness", *arguments]
    text = subprocess.run(command, cwd=cwd, env=variables, capture_output=True, text=True, check=True).stdout
    return re.sub(r"[^\x20-\x7e]", " ", text).split()


def compare(name: str, found: str) -> None:
    path = GOLDEN / name
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(found)
    assert found == path.read_text(), f"{path.name} changed; if that was meant: UPDATE_GOLDEN=1"


@pytest.mark.parametrize("command", COMMANDS, ids=lambda name: name or "harness")
def test_help(command: str) -> None:
    found = words(*command.split(), "--help")
    options = sorted({word for word in found if word.startswith("--")})
    compare(f"help-{command.replace(' ', '-') or 'harness'}.txt", "\n".join([*options, "", " ".join(found)]) + "\n")


@pytest.mark.skipif(Path("/proc/driver/nvidia").exists(), reason="with a GPU its cells are not skipped")
def test_plan(tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(SUITE)
    compare("plan.txt", " ".join(words("plan", "small.yaml", cwd=tmp_path)).replace(" runnable ", "\nrunnable ") + "\n")


def test_a_record_of_every_past_format_is_read() -> None:
    # Real records of quick; of the optimiser steps the first twelve are kept, to stay readable.
    formats = sorted(GOLDEN.glob("record-format-*.json"))
    assert formats
    for path in formats:
        rows = rows_of(read(path))
        shown = [[row[name] for name in ("metric", "phase", "sample", "value", "status")] for row in rows]
        compare(path.with_suffix(".rows.txt").name, "\n".join(json.dumps(row) for row in shown) + "\n")
