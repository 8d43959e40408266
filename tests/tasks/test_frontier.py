"""``frontier``: the bisection by hand, and real trainings under real limits."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.contract import Budget, Probe
from harness.errors import StepError
from harness.plan.job import jobs
from harness.plan.plan import plan
from harness.plan.suite import load_text
from harness.results.store import Store
from harness.run.launcher import run
from harness.run.probe import Excerpt
from harness.tasks.frontier import Frontier, search


@given(st.integers(0, 5000), st.integers(1, 64), st.floats(0.001, 0.5))
def test_the_border_is_found_within_the_resolution(border, start, resolution):
    asked = []
    found = search(lambda size: asked.append(size) or size <= border, start, 4096, resolution)
    true = min(border, 4096)
    assert found <= true and (found or true < start)
    assert true - found <= max(1, resolution * true) or true < start
    assert len(asked) <= 13 + 13 and max(asked) <= 4096


def scored(make_job, probe, **params):
    job = make_job(None, params=None)
    job.probe, job.budget = probe, Budget(batch_size=4, sequence_length=256)
    task = Frontier(Frontier.Params(**params))
    task.score(None, job)
    return job.meter


def test_a_probe_is_short_and_of_the_size_that_is_tried(make_job):
    seen = []

    def probe(budget, memory):
        seen.append((budget.batch_size, budget.sequence_length, budget.steps, memory))
        return Probe("done" if budget.batch_size <= 6 else "out_of_memory", None, 1000 * budget.batch_size)

    meter = scored(make_job, probe, cap_mebibytes=100)
    assert {one[1:] for one in seen} == {(256, 3, 100 * 2**20)}
    assert [one[0] for one in seen] == [1, 2, 4, 8, 6, 7]
    assert meter.metrics == {"largest_batch": 6, "frontier_tokens": 6 * 256, "frontier_peak_bytes": 6000}
    assert [one["status"] for one in meter.observed["probes"]].count("out_of_memory") == 2


def test_only_multiples_are_tried_where_a_batch_is_cut_into_parts(make_job):
    seen = []

    def probe(budget, memory):
        seen.append(budget.batch_size)
        return Probe("done", None, 1)

    meter = scored(make_job, probe, multiple_of=4, most=30)
    assert all(size % 4 == 0 for size in seen) and meter.metrics["largest_batch"] == 28
    assert "the border lies beyond 30" in meter.flags[0]


def test_not_even_the_smallest_is_a_result(make_job):
    meter = scored(make_job, lambda budget, memory: Probe("out_of_memory", "no", 5), grow="sequence")
    assert meter.metrics == {"longest_sequence": 0, "frontier_tokens": 0}


def test_another_failure_is_no_border(make_job):
    with pytest.raises(StepError, match="the probe with batch 1 failed: no such layer"):
        scored(make_job, lambda budget, memory: Probe("failed", "no such layer", 0))


@pytest.mark.parametrize("status", ["failed", "crashed", "timeout"])
def test_what_fails_under_the_limit_alone_does_not_fit(make_job, status):
    """oneDNN, for one, says that it could not create a primitive."""
    meter = scored(
        make_job,
        lambda budget, memory: Probe(status if memory and budget.batch_size > 2 else "done", "no primitive", 0),
    )
    assert meter.metrics["largest_batch"] == 2
    reasons = {one["status"]: one["reason"] for one in meter.observed["probes"]}
    assert reasons["out_of_memory"] == "only under the limit: no primitive"


class Whole:
    name, fingerprint = "whole", "whole"

    def views(self):
        return ("text", "instructions")

    def view(self, name, split):
        chance = random.Random(split)
        texts = ["word " * chance.randrange(1, 9) for _ in range(20)]
        return texts if name == "text" else [{"prompt": "ask\n", "answer": text} for text in texts]


def test_an_excerpt_has_enough_of_every_view():
    budget = Budget(steps=3, batch_size=2, sequence_length=100)
    data = Excerpt(Whole(), budget)
    assert sum(map(len, data.view("text", "train"))) >= 16 * 100 * 6
    items = data.view("instructions", "train")
    assert len(items) == 6 and all(len(item["answer"]) >= 16 * 100 for item in items)
    assert len(data.view("instructions", "validation")) == 1


SUITE = """
name: f
data: ./text.jsonl
models: {{tiny: {{architecture: llama, hidden_size: 64, intermediate_size: 128, layers: 8, heads: 4, context: 4096}}}}
model: tiny
hardware: cpu(threads=1)
method: [bpe(vocab_size=300) > clm, bpe(vocab_size=300) > clm + gradient_checkpointing]
tasks: ["frontier(grow=sequence, cap_mebibytes={cap}, most=1024)"]
budget: {{steps: 3, batch_size: 4, evaluations: 0}}
"""


@pytest.mark.slow
def test_real_trainings_under_a_real_limit(tmp_path: Path):
    lines = [json.dumps({"text": f"def f{number}(a):\n    return a + {number}\n" * 40}) for number in range(60)]
    (tmp_path / "text.jsonl").write_text("\n".join(lines))
    found = {}
    for cap in (60, 160):
        planned = plan(load_text(SUITE.format(cap=cap), folder=tmp_path))
        assert [step.operation for step in planned.steps] == ["train", "eval", "eval"], "the stage itself never trains"
        store = Store(tmp_path / "results")
        outcome = run([job for job in jobs(planned) if not store.latest(job["step"])], store, preload=("torch",),
                      canary=False)  # fmt: skip
        reasons = [record["reason"] for step in planned.steps if (record := store.latest(step.id))]
        assert set(outcome.statuses) == {"done"}, reasons
        for step in planned.steps[1:]:
            record = store.latest(step.id)
            found[cap, "checkpointing" in step.method_text] = record["metrics"]["longest_sequence"]
            statuses = {one["status"] for one in record["observed"]["probes"]}
            assert statuses <= {"done", "out_of_memory"}
            peaks = {one["size"]: one["peak_bytes"] for one in record["observed"]["probes"] if one["status"] == "done"}
            largest = record["metrics"]["longest_sequence"]
            assert record["metrics"]["frontier_peak_bytes"] == peaks[largest]
            # The float logits of a step alone: sequences x tokens x vocabulary x 4 bytes, several times over.
            # Code of libraries that is touched for the first time comes to it, and is not capped.
            assert 4 * largest * 300 * 4 < peaks[largest] < (cap + 48) * 2**20
    assert found[60, False] < found[160, False]
    assert found[160, False] <= found[160, True], "recomputation leaves more room"
    assert found[160, False] >= 64
