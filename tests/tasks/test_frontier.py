"""``frontier``: the bisection by hand, and real trainings under real limits."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.adapters.finetuning.lora import Lora
from harness.contract import Budget, Probe
from harness.errors import StepError, UsageError
from harness.plan.job import jobs
from harness.plan.plan import plan
from harness.plan.suite import load_text
from harness.results.store import Store
from harness.run.launcher import run
from harness.run.probe import Excerpt
from harness.tasks.frontier import Frontier, search
from harness.training.preferences import in_half


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


def test_what_an_accumulation_cannot_cut_is_not_tried(make_job):
    seen = []

    def probe(budget, memory):
        seen.append(budget.batch_size)
        return Probe("done" if budget.batch_size <= 13 else "out_of_memory", None, 1)

    def modify(setup):
        if setup.micro_batch_size % 3:
            raise UsageError("3 steps do not divide it")
        return setup

    job = make_job(None, params=None)
    job.probe, job.budget, job.modify = probe, Budget(batch_size=4, sequence_length=256), modify
    Frontier(Frontier.Params(multiple_of=2)).score(Lora(Lora.Params()), job)
    assert set(seen) == {6, 12, 24, 18} and job.meter.metrics["largest_batch"] == 12


def test_the_end_of_the_context_is_no_failure(make_job):
    seen = []

    def probe(budget, memory):
        seen.append(budget.sequence_length)
        if budget.sequence_length > 200:
            return Probe("beyond_context", "longer than the model's context of 200", 0, {"context": 200})
        return Probe("done", None, 1)

    meter = scored(make_job, probe, grow="sequence", most=4096)
    assert seen == [64, 128, 256, 200] and meter.metrics["longest_sequence"] == 200
    assert meter.flags == [
        "the largest sequence that was tried still fits: the border lies beyond the model's context of 200"
    ]
    assert [one["status"] for one in meter.observed["probes"]] == ["done", "done", "beyond_context", "done"]


def test_a_context_below_the_smallest_size_ends(make_job):
    found = Probe("beyond_context", "longer than the model's context of 200", 0, {"context": 200})
    meter = scored(make_job, lambda budget, memory: found, grow="sequence", multiple_of=256)
    assert meter.metrics["longest_sequence"] == 0 and [one["size"] for one in meter.observed["probes"]] == [256]
    assert not meter.flags, "nothing that was tried fits"


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
        return ("text", "instructions", "pairs", "labels")

    def view(self, name, split):
        chance = random.Random(f"{name} {split}")
        texts = ["word " * chance.randrange(1, 9) for _ in range(20)]
        if name == "pairs":
            sides = [("yes", "no" if len(text) > 5 else "") for text in texts]
            both = zip(texts, sides, strict=True)
            return [{"prompt": f"{text}?", "chosen": one, "rejected": two} for text, (one, two) in both]
        if name == "labels":
            return [{"text": text, "label": place % 3} for place, text in enumerate(texts)]
        return texts if name == "text" else [{"prompt": f"{text}\n", "answer": text} for text in texts]


def test_an_excerpt_has_enough_of_every_view():
    budget = Budget(steps=3, batch_size=2, sequence_length=100)
    data = Excerpt(Whole(), budget)
    assert sum(map(len, data.view("text", "train"))) >= 16 * 100 * 6
    items = data.view("instructions", "train")
    assert len(items) == 6 and all(len(item["answer"]) >= 16 * 100 for item in items)
    assert len({item["prompt"] for item in items}) == 1, "the shortest: a long one leaves its answer no room"
    assert len(data.view("instructions", "validation")) == 1
    pairs = data.view("pairs", "train")
    assert [sum(in_half(item, half) for item in pairs) for half in ("first", "second")] == [6, 6]
    assert all(len(item["chosen"]) >= 16 * 100 and item["rejected"] for item in pairs)
    assert {item["label"] for item in data.view("labels", "train")} == {0, 1, 2}


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


REFUSED = """
method: [{method}]
model: {model}
models: {{small: {{architecture: t5, hidden_size: 64, intermediate_size: 128, layers: 2, heads: 4, context: 256}}}}
hardware: {{device: cpu, ranks: {ranks}}}
tasks: [frontier, training_memory]
budget: {{steps: 3}}
"""


@pytest.mark.parametrize(("method", "model", "ranks", "said"), [
    ("lora", "embedded", 2, "probes a training in one process, and this one has 2 ranks"),
    ("full_finetune + zero", "embedded", 2, "probes a training in one process, and this one has 2 ranks"),
    ("sft > reward_model > ppo", "embedded", 1, "ppo writes its own answers"),
    ("bpe > seq2seq > lora(view=text_to_text)", "small", 1, "leaves out pairs that are too long"),
])  # fmt: skip
def test_what_no_probe_can_train_is_skipped_with_the_reason(method, model, ranks, said):
    planned = plan(load_text(REFUSED.format(method=method, model=model, ranks=ranks)))
    found = {step.task.name: (step.state, step.reason) for step in planned.steps if step.task is not None}
    assert set(found) == {"frontier", "training_memory"}
    assert all(state == "skipped" and said in reason for state, reason in found.values()), found
    # alone it can be probed
    alone = plan(load_text(REFUSED.format(method="lora(view=text_to_text)", model="embedded", ranks=1)))
    assert {step.state for step in alone.steps if step.task is not None} == {"runnable"}
