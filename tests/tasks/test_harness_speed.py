"""``harness_speed`` runs the harness as a user does; what it reads is a whole suite with whole records."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

import pytest

from harness import specimen
from harness.errors import StepError
from harness.plan.job import jobs
from harness.plan.plan import plan
from harness.plan.suite import load_text
from harness.results.record import validate
from harness.results.rows import rows_of
from harness.results.store import Store
from harness.run.launcher import run
from harness.tasks import harness_speed
from harness.tasks.harness_speed import HarnessSpeed

pytestmark = pytest.mark.quiet


def scored(make_job: Any, folder: Path, **params: Any) -> Any:
    job = make_job(None, output=folder)
    HarnessSpeed(HarnessSpeed.Params(**params)).score(None, job)
    return job.meter


def test_the_first_time_is_not_counted(make_job, tmp_path, monkeypatch) -> None:
    times = iter([9.0, 1.0, 3.0, 2.0])
    monkeypatch.setattr(harness_speed, "_timed", lambda arguments, folder: next(times))
    meter = scored(make_job, tmp_path, repeats=3)
    assert meter.samples["harness_seconds"] == [1.0, 3.0, 2.0]
    assert meter.metrics == {"harness_seconds": 2.0}
    assert meter.spans == ["data", "warm_up", "repeats", "repeats", "repeats"]


def test_rows_are_made_of_the_generated_records(make_job, tmp_path) -> None:
    meter = scored(make_job, tmp_path, what="rows", repeats=1, size=20)
    records = Store(tmp_path / "results").records("generated")
    planned = json.loads((tmp_path / "results" / "generated" / specimen.INSTALLATION / "plan.json").read_text())
    assert len(planned["cells"]) == 4 and not records.quarantined
    assert len(records.records) == len(planned["steps"]) >= 20
    assert (tmp_path / "rows.parquet").stat().st_size > 10_000
    assert len(meter.samples["harness_seconds"]) == 1 and meter.metrics["harness_seconds"] > 0.1


def test_generated_records_are_whole_and_differ() -> None:
    steps = plan(load_text(specimen.suite(5))).to_dict()["steps"]
    records = [specimen.record(step, number, "generated") for number, step in enumerate(steps)]
    for record in records:
        validate(record, Path(record["record"]))
        assert len(rows_of(record)) > 3
    assert specimen.record(steps[0], 0, "generated") == records[0], "always the same"
    losses = [one["metrics"]["loss"] for one in records if "loss" in one["metrics"]]
    assert len(set(losses)) == len(losses) > 8
    scores = next(one for one in records if "perplexity" in one["items"])
    columns = scores["items"]["perplexity"]
    assert scores["metrics"]["loss"] == pytest.approx(sum(columns["nll"]) / sum(columns["tokens"]))
    trained = next(one for one in records if one["operation"] == "train")
    assert trained["metrics"]["tokens_per_second"] == pytest.approx(
        sum(trained["optimizer_steps"]["tokens"]) / sum(trained["optimizer_steps"]["seconds"])
    )


def test_a_command_that_fails_ends_the_step_with_its_own_words(tmp_path) -> None:
    with pytest.raises(StepError, match=r"harness plan generated.yaml --json ended with 2: .*does not exist"):
        harness_speed._timed(harness_speed.COMMANDS["plan"], tmp_path)


def test_a_step_that_does_nothing_opens_nothing(tmp_path, monkeypatch) -> None:
    """By a real worker; the model and the input that the job names do not exist, and nobody looks for them."""
    import sys

    fakes = Path(__file__).parents[1]
    monkeypatch.syspath_prepend(str(fakes))
    monkeypatch.setenv("PYTHONPATH", str(fakes))
    from fakes.jobs import make_eval

    assert "fakes.jobs" in sys.modules
    task = {"name": "nothing", "module": "harness.tasks.nothing", "params": {"number": 1}}
    job = make_eval("a") | {"task": task, "input": "0" * 16, "model": {"kind": "none"}}
    store = Store(tmp_path)
    outcome = run([job], store, preload=(), canary=False)
    record = store.latest("a")
    assert outcome.statuses == {"done": 1}, record["reason"]
    assert {span["name"] for span in record["spans"]} == {"start", "import", "data", "score"}
    assert "checkpoint_bytes" not in record["metrics"]


@pytest.mark.slow
def test_steps_are_timed_from_end_to_end(make_job, tmp_path) -> None:
    """Against the records: a step's own wall time is a part of what it costs, and together they fit into the run."""
    meter = scored(make_job, tmp_path, what="step", repeats=4)
    records = [one for one in Store(tmp_path / "results").records("nothing").records if one["operation"] == "eval"]
    assert len(records) == 6 and {one["status"] for one in records} == {"done"}
    seconds = meter.samples["harness_seconds"]
    assert len(seconds) == 4 and meter.metrics["harness_seconds"] == statistics.median(seconds)
    walls = sorted(one["wall_seconds"] for one in records)
    assert sum(seconds) > sum(walls[:4])


@pytest.mark.slow
def test_a_report_is_made_of_the_generated_records(make_job, tmp_path) -> None:
    scored(make_job, tmp_path, what="report", repeats=1, size=20)
    assert "lora" in (tmp_path / "reports" / "generated" / "README.md").read_text()


def test_the_suite_of_nothing_plans_steps_that_all_run() -> None:
    found = plan(load_text(harness_speed.NOTHING.format(threads=1, numbers=[1, 2, 3]), file="nothing.yaml"))
    assert [step.coordinates["task"] for step in found.steps] == ["nothing", "nothing(number=2)", "nothing(number=3)"]
    assert {job.get("state") for job in jobs(found)} == {None}
