"""``training_memory``: what a probe says is what is told, and a real training beside its prediction."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.contract import Budget, Hardware, Probe
from harness.errors import DoesNotFit, StepError
from harness.plan.job import jobs
from harness.plan.plan import plan
from harness.plan.suite import load_text
from harness.results.store import Store
from harness.run.launcher import run
from harness.tasks.training_memory import TrainingMemory

SAID = {"training_memory_bytes": 300.0, "predicted_memory_bytes": 90.0}


def scored(make_job, probe, **fields):
    job = make_job(None, params=None, **fields)
    job.probe, job.budget = probe, Budget(batch_size=4, sequence_length=256, evaluations=3)
    TrainingMemory(TrainingMemory.Params()).score(None, job)
    return job.meter


def test_two_probes_are_asked_for_the_same_training(make_job):
    seen = []

    def probe(budget, memory, *, give_back=False):
        seen.append((budget.steps, budget.batch_size, budget.sequence_length, budget.evaluations, memory, give_back))
        peak = 100.0 if give_back else 300.0
        return Probe("done", None, 1, SAID | {"training_memory_bytes": peak}, {"predicted_memory": {"at": "x"}})

    meter = scored(make_job, probe)
    assert seen == [(4, 4, 256, 0, None, False), (4, 4, 256, 0, None, True)]
    assert meter.metrics == {
        "training_memory_bytes": 300.0, "tensor_memory_bytes": 100.0, "predicted_memory_bytes": 90.0
    }  # fmt: skip
    assert meter.observed["predicted_memory"] == {"at": "x"}


def test_a_gpus_allocator_needs_no_second_probe(make_job):
    asked = []

    def probe(budget, memory, *, give_back=False):
        asked.append(give_back)
        return Probe("done", None, 1, {"training_memory_bytes": 7.0})

    meter = scored(make_job, probe, hardware=Hardware("cuda"))
    assert asked == [False] and meter.metrics == {"training_memory_bytes": 7.0, "tensor_memory_bytes": 7.0}


@pytest.mark.parametrize(
    ("found", "error", "words"),
    [
        (Probe("out_of_memory", "8 GB were asked for", 0), DoesNotFit, "8 GB were asked for"),
        (Probe("failed", "no such layer", 0), StepError, "the probe failed: no such layer"),
        (Probe("done", None, 5), StepError, "the probe done: it measured no training"),
    ],
)
def test_a_probe_that_fails_is_no_measurement(make_job, found, error, words):
    with pytest.raises(error, match=words):
        scored(make_job, lambda *asked, **options: found)


SUITE = """
name: m
data: ./text.jsonl
models: {deep: {architecture: gpt2, hidden_size: 128, intermediate_size: 512, layers: 8, heads: 4, context: 512}}
model: deep
hardware: cpu(threads=1)
method: bpe(vocab_size=300) > clm(optimizer=adamw)
tasks: training_memory(steps=3)
budget: {steps: 3, batch_size: 4, sequence_length: 512, evaluations: 0}
"""


@pytest.mark.slow
def test_a_real_training_is_predicted(tmp_path: Path):
    lines = [json.dumps({"text": f"def f{number}(a):\n    return a + {number}\n" * 40}) for number in range(60)]
    (tmp_path / "text.jsonl").write_text("\n".join(lines))
    planned = plan(load_text(SUITE, folder=tmp_path))
    store = Store(tmp_path / "results")
    outcome = run(jobs(planned), store, preload=("torch",), canary=False)
    record = store.latest(planned.steps[-1].id)
    assert set(outcome.statuses) == {"done"}, record and record["reason"]
    metrics = record["metrics"]
    tensors, heap = metrics["tensor_memory_bytes"], metrics["training_memory_bytes"]
    assert metrics["predicted_memory_bytes"] == pytest.approx(tensors, rel=0.1)
    assert tensors > 150e6, "nothing small is asked"
    # glibc keeps what it was given back; a heap that keeps nothing would need another task than this.
    assert heap > 1.05 * tensors
