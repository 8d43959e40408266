"""A suite that is measured in seconds: one vocabulary, learnt from two hundred lines."""

from __future__ import annotations

import json
from pathlib import Path

SUITE = """
name: {name}
question: Did a vocabulary get worse?
data: ./text.jsonl
model: none
hardware: {{device: cpu, threads: 1}}
sweeps:
  - method: "wordpiece(vocab_size=150)"
    tasks: tokenization
"""


def write_suite(folder: Path, name: str) -> None:
    """Write the suite ``name`` and its text into a folder."""
    lines = [json.dumps({"text": f"the value number {number} of the table is {number * 7 % 101}\n" * 4})
             for number in range(200)]  # fmt: skip
    (folder / "text.jsonl").write_text("\n".join(lines) + "\n")
    (folder / f"{name}.yaml").write_text(SUITE.format(name=name))
