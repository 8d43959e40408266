"""Real trainings on two ranks: the losses of one process at the same global batch, and a share of the bytes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from harness.adapters.efficiency.zero import Zero
from harness.contract import Budget, Hardware, TrainingParams
from harness.errors import UsageError
from harness.plan.job import jobs
from harness.plan.plan import plan
from harness.plan.suite import load_text
from harness.results.store import Store
from harness.run.launcher import run
from harness.training.setup import plain_setup

SUITE = """
name: z
data: ./text.jsonl
models: {tiny: {architecture: llama, hidden_size: 64, intermediate_size: 128, layers: 2, heads: 4, context: 128}}
model: tiny
params: {clm: {optimizer: adamw, learning_rate: 3e-3}}
budget: {steps: 6, batch_size: 4, sequence_length: 64, evaluations: 1}
sweeps:
  - {method: "bpe(vocab_size=300) > clm", hardware: {device: cpu, threads: 2}}
  - {method: "METHODS", hardware: {device: cpu, threads: 2, ranks: 2}}
"""


def trained(folder: Path, method: str) -> list[dict]:
    """The record of one process and then those of two ranks."""
    lines = [json.dumps({"text": f"def f{number}(a):\n    return a + {number}\n" * 10}) for number in range(60)]
    (folder / "text.jsonl").write_text("\n".join(lines))
    planned = plan(load_text(SUITE.replace("METHODS", method), folder=folder))
    store = Store(folder / "results")
    run(jobs(planned), store, preload=("torch", "transformers"), canary=False)
    found = [store.latest(step.id) for step in planned.steps if step.stage.call.name == "clm"]
    assert {one["status"] for one in found} == {"done"}, [one["reason"] for one in found]
    return found


def test_an_optimiser_of_matrices_is_refused() -> None:
    setup = plain_setup(TrainingParams(optimizer="muon"), Budget(steps=1), "fp32", 1)
    with pytest.raises(UsageError, match="on which muon is not defined: use optimizer=adamw"):
        Zero(Zero.Params()).modify(setup)
    assert Zero(Zero.Params(stage=3)).modify(replace(setup, optimizer="adamw")).zero_stage == 3
    assert "hardware needs ranks: 2" in str(Zero(Zero.Params()).skip("fp32", Hardware()))


def check(alone: dict, both: dict, share: dict[str, float]) -> None:
    assert both["optimizer_steps"]["loss"] == pytest.approx(alone["optimizer_steps"]["loss"], rel=1e-5)
    assert both["optimizer_steps"]["tokens"] == alone["optimizer_steps"]["tokens"], "of both ranks together"
    metrics, parameters = both["metrics"], alone["metrics"]["parameters"]
    for name, per_parameter in share.items():
        assert metrics[name] == pytest.approx(per_parameter * parameters, rel=0.02), name
    assert metrics["communication_seconds"] > 0
    assert [one["rank"] for one in both["observed"]["ranks"]] == [0, 1]
    assert all(one["peak_memory_bytes"] > 0 for one in both["observed"]["ranks"])


@pytest.mark.slow
def test_data_parallel_ranks_learn_what_one_process_learns(tmp_path: Path) -> None:
    alone, both = trained(tmp_path, "bpe(vocab_size=300) > clm")
    check(alone, both, {"rank_parameter_bytes": 4, "rank_gradient_bytes": 4, "rank_optimizer_bytes": 8})


@pytest.mark.slow
def test_zero_divides_state_gradients_and_parameters(tmp_path: Path) -> None:
    """Stage 1 and 2 keep a fp32 copy of their half of the weights beside Adam's two moments: 12 bytes for half."""
    alone, first, second, third = trained(tmp_path, "bpe(vocab_size=300) > clm + zero(stage=[1, 2, 3])")
    check(alone, first, {"rank_parameter_bytes": 4, "rank_gradient_bytes": 4, "rank_optimizer_bytes": 6})
    check(alone, second, {"rank_parameter_bytes": 4, "rank_optimizer_bytes": 6})
    assert second["metrics"]["rank_gradient_bytes"] < first["metrics"]["rank_gradient_bytes"]
    check(alone, third, {"rank_optimizer_bytes": 6})
    assert third["metrics"]["rank_parameter_bytes"] < 0.6 * first["metrics"]["rank_parameter_bytes"]
