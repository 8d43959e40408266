"""Committed results are what the committed suites give: complete, trained, and repeatable where deterministic."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.metrics import METRICS
from harness.plan.job import jobs
from harness.plan.plan import Plan, plan
from harness.plan.steps import Step
from harness.plan.suite import load
from harness.results import plan_file
from harness.results.store import Store
from harness.run.launcher import run

ROOT = Path(__file__).resolve().parents[2]
# Some suites are for users to begin with: they have no results until somebody measures and commits them.
SUITES = sorted(path.stem for path in (ROOT / "suites").glob("*.yaml") if (ROOT / "results" / path.stem).is_dir())
# One cheap step of each suite, by technique, operation and task, which is measured again here with what it needs.
AGAIN = {
    "quick": ("int8", "eval", "perplexity"),
    "embedded_model": ("bpe", "train", None),
    "tokenizers": ("bpe", "eval", "tokenization"),
    "languages": ("bpe", "eval", "language_parity"),
    "pretraining": ("bpe", "train", None),
    "finetuning": ("base", "eval", "perplexity"),
    "finetuning_views": ("base", "eval", "perplexity"),
    "lora": ("base", "eval", "perplexity(view=instructions)"),
    "efficiency": ("bpe", "train", None),
    "attention": ("bpe", "train", None),
    "zero": ("bpe", "train", None),
    "frontier": ("bpe", "train", None),
    "compression": ("rtn", "eval", "perplexity"),
    "compression_real": ("rtn", "eval", "perplexity(windows=60)"),
    "distillation": ("base", "eval", "perplexity"),
    "alignment": ("sft", "train", None),
    "claims": ("bpe", "train", None),
    "alignment_local": ("sft", "train", None),
    "memory": ("bpe", "train", None),
    "nightly": ("int8", "eval", "perplexity"),
    "self": ("base", "eval", "meter_overhead(steps=25)"),
    "scaling": ("int8", "eval", "perplexity(view=instructions)"),
    "latency": ("bpe", "train", None),
    "align_small": ("sft", "train", None),
    "four_bit_showdown": ("rtn", "eval", "perplexity"),
    "serving": ("base", "eval", "perplexity(view=instructions)"),
}
# Those whose cheapest step trains for a while are measured again by `make test-all`.
QUICK = ("compression_real",)
EXACT = (
    "parameters", "checkpoint_bytes", "weight_bytes", "bits_per_weight", "vocabulary_size", "optimizer_steps",
    "bytes_per_token", "fertility", "round_trip_share", "token_parity",
)  # fmt: skip
CLOSE = ("loss", "bits_per_byte")


def committed(suite: str) -> dict[str, dict[str, Any]]:
    """Done records of a suite by step id, of whatever installation."""
    found = Store(ROOT / "results").records(suite).records
    return {record["step"]: record for record in found if record["status"] == "done"}


@pytest.fixture(scope="module", params=SUITES)
def suite(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def planned(suite: str, shipped_suite: Callable[[str], Path]) -> Plan:
    done = committed(suite)

    def tried(step: Step) -> float | None:
        return float(done[step.id]["curve"][-1]["validation_loss"]) if step.id in done else None

    return plan(load(shipped_suite(suite)), tried=tried)


def test_no_suite_has_lost_its_results() -> None:
    assert set(AGAIN) == set(SUITES)


def test_a_page_asks_and_notes_what_its_suite_does(suite: str, shipped_suite: Callable[[str], Path]) -> None:
    """A note that was mended in the suite alone would go on standing in the report."""
    written = load(shipped_suite(suite))
    for kept in Store(ROOT / "results").plans(suite).values():
        assert (kept["question"], list(kept["notes"])) == (written.question, list(written.notes))


def test_every_cell_that_can_run_here_is_committed(suite: str, planned: Plan) -> None:
    done = committed(suite)
    missing = [f"{step.method_text} {step.operation}" for step in planned.steps
               if step.id not in done and not (step.state == "skipped" and "harness env" not in str(step.reason))
               ]  # fmt: skip
    assert not missing, f"{suite}: run it again and commit the records of: {missing}"


def test_what_trained_took_its_steps_and_its_loss_moved(suite: str) -> None:
    plans = [plan_file.read(path) for path in (ROOT / "results" / suite).glob("*/plan.json")]
    passed_over = {trial["step"] for found in plans for trial in found.get("trials") or [] if not trial["chosen"]}
    for record in committed(suite).values():
        metrics = record["metrics"]
        if "optimizer_steps" not in metrics:
            continue
        name = record["coordinates"]["method"]
        assert metrics["optimizer_steps"] >= 50, name
        if record["step"] in passed_over:
            continue  # a rate at which a method diverges is what a trial may find
        assert len(record["optimizer_steps"]["seconds"]) == metrics["optimizer_steps"], name
        # A head on four options hardly learns in fifty steps: one of its two losses may rise, never both.
        first, last = record["curve"][0], record["curve"][-1]
        if "episodes" in metrics:  # a policy's loss is made anew with each of its batches
            assert last["kl_from_reference"] > first["kl_from_reference"], name
            continue
        seen = last["validation_loss"] < first["validation_loss"]
        assert seen or metrics["train_loss_last"] < metrics["train_loss_first"], name
        assert metrics["trainable_parameters"] > 0, name


def test_the_numbers_of_a_record_agree_with_each_other(suite: str) -> None:
    for record in committed(suite).values():
        explained = sum(span["seconds"] for span in record["spans"])
        assert abs(record["wall_seconds"] - explained) <= max(0.05, 0.02 * record["wall_seconds"])
        assert set(record["metrics"]) <= set(METRICS)
        if "perplexity" in record["items"]:
            items, metrics = record["items"]["perplexity"], record["metrics"]
            assert metrics["loss"] == pytest.approx(sum(items["nll"]) / sum(items["tokens"]), rel=1e-9)


@pytest.mark.parametrize(
    "suite", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in SUITES], indirect=True
)
def test_one_cell_measured_again_gives_the_same(suite: str, planned: Plan, tmp_path: Path) -> None:
    method, operation, task = AGAIN[suite]
    target = next(step for step in planned.steps if _is(step, method, operation, task))
    wanted = _with_needs(planned, target.id)
    store = Store(tmp_path / "results")
    chosen = [job for job in jobs(planned) if job["step"] in wanted]
    outcome = run(chosen, store, preload=(), canary=False)
    assert set(outcome.statuses) == {"done"}, outcome
    expected, found = committed(suite)[target.id], store.latest(target.id)
    assert found is not None
    for name in EXACT:
        assert found["metrics"].get(name) == expected["metrics"].get(name), name
    for name in CLOSE:
        if name in expected["metrics"]:
            assert found["metrics"][name] == pytest.approx(expected["metrics"][name], rel=1e-3), name
    parts = {name: part["sha256"] for name, part in expected["observed"].get("checkpoint", {}).get("parts", {}).items()}
    assert parts.items() <= {
        name: part["sha256"] for name, part in found["observed"].get("checkpoint", {}).get("parts", {}).items()
    }.items()


def _is(step: Step, technique: str, operation: str, task: str | None) -> bool:
    asked = None if step.task is None else step.task.text
    return (step.stage.call.name, step.operation, asked) == (technique, operation, task)


def _with_needs(planned: Plan, step: str) -> set[str]:
    """A step and everything that it needs."""
    needs = {item.id: item.needs for item in planned.steps}
    wanted, open_ = set(), [step]
    while open_:
        if (current := open_.pop()) not in wanted:
            wanted.add(current)
            open_.extend(needs[current])
    return wanted
