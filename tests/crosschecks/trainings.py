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
method: clm(learning_rate={rate}, optimizer=adamw)
tasks: nothing
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


def by_harness(folder: Path, steps: int, threads: int) -> Training:
    """Train by a suite; ``folder`` is new. The record says what was observed."""
    folder.mkdir(parents=True)
    _write_lines(folder / "train.jsonl", texts())
    for split in ("validation", "test"):  # neither is looked at here
        _write_lines(folder / f"{split}.jsonl", [f"def {split}(a):\n    return a\n" * 3])
    suite = SUITE.format(steps=steps, batch=BATCH, length=LENGTH, rate=RATE, seed=SEED, threads=threads)
    (folder / "plain.yaml").write_text(suite)
    command = [sys.executable, "-m", "harness", "run", "plain.yaml", "--remeasure", "0"]
    subprocess.run(command, cwd=folder, env=variables(threads), check=True, capture_output=True, timeout=280)
    records = [json.loads(file.read_text()) for file in folder.glob("results/plain/*/*.json")]
    found = next(record for record in records if record.get("operation") == "train")
    assert found["status"] == "done", found["reason"]
    steps_of = found["optimizer_steps"]
    return Training(steps_of["loss"], steps_of["seconds"], found["metrics"]["peak_memory_rise_bytes"])


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
