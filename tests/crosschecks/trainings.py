"""The same training twice, each in a process of its own: by the harness, and by the hand-written ``plain_loop``."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
EMBEDDED = ROOT / "harness" / "models" / "embedded"
BATCH, LENGTH, RATE, SEED = 8, 128, 1e-3, 3
MODULES = ("argparse", "ast", "calendar", "configparser", "csv", "dataclasses", "difflib", "enum", "inspect", "typing")
SUITE = """
name: plain
question: Is a training of the harness the one that is written by hand?
model: embedded
data_sets:
  modules:
    split: {{train: train.jsonl, validation: validation.jsonl, test: test.jsonl}}
    columns: {{text: text}}
data: modules
precision: fp32
hardware: {{device: cpu, threads: {threads}}}
seed: {seed}
method: {method}
tasks: {task}
budget: {{steps: {steps}, batch_size: {batch}, sequence_length: {length}, evaluations: 0}}
"""


@dataclass(frozen=True)
class Training:
    """What both ways tell of a training: the loss and the seconds of each step, and the rise of the peak memory."""

    losses: list[float]
    seconds: list[float]
    rise_bytes: float


def texts() -> list[str]:
    """Source text that every machine has."""
    found = [importlib.import_module(name).__file__ for name in MODULES]
    return [Path(str(file)).read_text(encoding="utf-8") for file in found]


def variables(threads: int) -> dict[str, str]:
    """What the harness sets before torch starts, for the other process too."""
    named = {"OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "passive", "TOKENIZERS_PARALLELISM": "false",
             "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}  # fmt: skip
    return {**os.environ, **named}


def by_suite(
    folder: Path, method: str, task: str, operation: str, steps: int = 2, threads: int = 1
) -> list[dict[str, Any]]:
    """Run a suite on the embedded model in a new ``folder``: its records of an operation, which reads the texts."""
    folder.mkdir(parents=True)
    whole = "train" if operation == "train" else "test"  # what two splits have in common would be left out of one
    for split in ("train", "validation", "test"):
        _write_lines(folder / f"{split}.jsonl", texts() if split == whole else [f"def {split}(a):\n    pass\n" * 99])
    suite = SUITE.format(
        steps=steps, batch=BATCH, length=LENGTH, seed=SEED, threads=threads, method=json.dumps(method), task=task
    )
    (folder / "plain.yaml").write_text(suite)
    command = [sys.executable, "-m", "harness", "run", "plain.yaml", "--remeasure", "0"]
    done = subprocess.run(command, cwd=folder, env=variables(threads), capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    records = [json.loads(file.read_text()) for file in folder.glob("results/plain/*/*.json")]
    return [record for record in records if record.get("operation") == operation]


def by_harness(folder: Path, steps: int, threads: int) -> Training:
    """Train by a suite; the record says what was observed."""
    method = f"clm(learning_rate={RATE}, optimizer=adamw)"
    (found,) = by_suite(folder, method, "nothing", "train", steps, threads)
    of_steps = found["optimizer_steps"]
    return Training(of_steps["loss"], of_steps["seconds"], found["metrics"]["peak_memory_rise_bytes"])


def by_hand(folder: Path, steps: int, threads: int) -> Training:
    """Train by the plain loop."""
    folder.mkdir(parents=True)
    (folder / "texts.json").write_text(json.dumps(texts()))
    numbers = [steps, BATCH, LENGTH, RATE, SEED, threads]
    command = [sys.executable, str(Path(__file__).with_name("plain_loop.py")), str(EMBEDDED), "texts.json"]
    done = subprocess.run(
        [*command, *map(str, numbers)], cwd=folder, env=variables(threads), check=True, capture_output=True, text=True,
        timeout=280,
    )  # fmt: skip
    found: dict[str, Any] = json.loads(done.stdout)
    return Training(found["losses"], found["seconds"], found["rise_bytes"])


def _write_lines(file: Path, documents: list[str]) -> None:
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in documents))
