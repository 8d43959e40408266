"""Two ranks over answers of unequal length learn what one process learns: the loss is a mean over all ranks' tokens.

A mean of the ranks' means would be another one. ``test_zero.py`` has blocks that are all full, where it is the same.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.plan.job import jobs
from harness.plan.plan import plan
from harness.plan.suite import load_text
from harness.results.store import Store
from harness.run.launcher import run

SUITE = """
name: unequal
data_sets: {{answers: {{path: ./answers.jsonl, columns: {{prompt: prompt, answer: answer}}}}}}
data: answers
model: embedded
method: [{method}]
params: {{full_finetune: {{optimizer: adamw, learning_rate: 1e-3}}}}
seed: 0
budget: {{steps: 4, batch_size: 4, sequence_length: 96, evaluations: 0}}
sweeps:
  - hardware: {{device: cpu, threads: 2}}
  - hardware: {{device: cpu, threads: 2, ranks: 2}}
"""


def losses(folder: Path, alone: str, both: str) -> tuple[dict, dict]:
    lines = [
        json.dumps({"prompt": f"add {number}\n", "answer": f"return a + {number}\n" * (1 + number % 2 * 9)})
        for number in range(60)
    ]
    (folder / "answers.jsonl").write_text("\n".join(lines))
    found = []
    for method, ranks in ((alone, 1), (both, 2)):
        planned = plan(load_text(SUITE.format(method=method), folder=folder))
        steps = [step for step in planned.steps if step.hardware.ranks == ranks]
        store = Store(folder / "results")
        run([job for job in jobs(planned) if job["step"] in {step.id for step in steps}], store, canary=False)
        (record,) = [store.latest(step.id) for step in steps]
        assert record["status"] == "done", record["reason"]
        found.append(record["optimizer_steps"])
    return found[0], found[1]


def check(folder: Path, alone: str, both: str) -> None:
    one, two = losses(folder, alone, both)
    assert len(set(one["loss_tokens"])) > 1, "the batches differ in how much of them is learnt"
    assert two["loss_tokens"] == one["loss_tokens"]
    assert two["loss"] == pytest.approx(one["loss"], rel=2e-5)


def test_sharded_parameters_and_unequal_answers(tmp_path: Path) -> None:
    check(tmp_path, "full_finetune", "full_finetune + zero(stage=3)")


@pytest.mark.slow
@pytest.mark.parametrize("method", [
    "full_finetune", "full_finetune + zero(stage=2) + gradient_accumulation(steps=2)", "lora + gradient_checkpointing",
    "bottleneck_adapter + zero(stage=3)",
])  # fmt: skip
def test_so_do_other_methods(tmp_path: Path, method: str) -> None:
    check(tmp_path, method.partition(" + ")[0], method)
