"""A chat model in a folder and a file of conversations, from the suite to the records."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from chat_models import CHATML, save_chat_model

from harness.models.chat import template_mark

SUITE = """
name: chats
model: [./chat, embedded]
data_sets:
  talks: {split: {train: talks-0.jsonl, test: talks-1.jsonl}, columns: {prompt: messages, answer: messages}}
  asked: {split: {train: asked-0.jsonl, test: asked-1.jsonl}, view: instructions, chat: true}
  pairs: {split: {train: pairs-0.jsonl, test: pairs-1.jsonl}, view: pairs, chat: true}
hardware: {device: cpu, threads: 1}
budget: {steps: 4, batch_size: 4, sequence_length: 128, evaluations: 1}
sweeps:
  - data: [talks, asked]
    method: [base, lora, sft, "awq(calibration_view=instructions, calibration_windows=2, calibration_length=64)"]
    tasks: perplexity(view=instructions)
  - {data: pairs, method: [base, "sft(view=pairs) > dpo"], tasks: preference}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_chat_model(tmp_path / "chat", "chatml")
    asked = [{"prompt": f"What is {number} + 1?", "answer": f"It is {number + 1}."} for number in range(60)]
    talks = [{"messages": [{"role": "user", "content": one["prompt"]}, {"role": "assistant", "content": one["answer"]}]}
             for one in asked]  # fmt: skip
    pairs = [{"prompt": one["prompt"], "chosen": one["answer"], "rejected": "I do not know."} for one in asked]
    for name, rows in (("asked", asked), ("talks", talks), ("pairs", pairs)):
        for part in (0, 1):
            lines = [json.dumps(row) + "\n" for row in rows[40 * part : 40 + 40 * part]]
            (tmp_path / f"{name}-{part}.jsonl").write_text("".join(lines))
    (tmp_path / "suite.yaml").write_text(SUITE)
    return tmp_path


def run(folder: Path, *arguments: str) -> Any:
    command = [sys.executable, "-m", "harness", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=280)


@pytest.mark.slow  # a sweep of two models
def test_conversations_are_read_by_the_template_of_whoever_has_one(folder: Path) -> None:
    done = run(folder, "run", "suite.yaml", "--remeasure", "0", "--no-report")
    records = [json.loads(file.read_text()) for file in (folder / "results" / "chats").rglob("*.1.json")]
    found = [record for record in records if record["operation"] != "canary" and record["status"] == "done"]
    assert found and not [record for record in records if record["status"] in ("crashed", "failed")], done.stderr
    tokenizer = type("Tokenizer", (), {"chat_template": CHATML})
    for record in found:
        where = record["coordinates"]
        expected: dict[str, str] = {"by": "plain transcript"}
        if where["model"] == "./chat":
            expected = {"by": "chat template", "template": template_mark(tokenizer)}
        if record["operation"] == "compress":
            continue
        assert record["observed"]["conversations"] == expected, where
    scored = {(one["coordinates"]["model"], one["coordinates"]["method"], one["coordinates"]["data"]): one["metrics"]
              for one in found if one["operation"] == "eval" and "loss" in one["metrics"]}  # fmt: skip
    assert scored["./chat", "base", "talks"]["loss"] == scored["./chat", "base", "asked"]["loss"]
    assert scored["embedded", "base", "talks"]["loss"] == scored["embedded", "base", "asked"]["loss"]
