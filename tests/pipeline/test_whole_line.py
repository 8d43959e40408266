"""A real small suite from YAML to report, through the command line, with the real libraries."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

SUITE = """
name: small
question: Does the whole line work?
baseline: base
hardware: {device: cpu, threads: 2}
method: [base, int8, "lora(rank=4) > int8"]
tasks: [perplexity(windows=8), choice(items=40), "generation_speed(repeats=2, new_tokens=8)"]
budget: {steps: 12, batch_size: 4, sequence_length: 128, evaluations: 2}
"""


@pytest.fixture
def suite(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "small.yaml"
    path.write_text(SUITE)
    yield path


def records(folder: Path) -> list[dict]:
    """Every record below a results folder."""
    paths = [path for path in sorted(folder.glob("[!.]*/*/*.json")) if path.name != "plan.json"]
    return [json.loads(path.read_text()) for path in paths]


def test_from_suite_to_report_and_a_second_run_runs_nothing(harness, suite: Path, tmp_path: Path) -> None:
    first = harness("run", str(suite), "--json")
    assert first.returncode == 0, first.stderr
    assert json.loads(first.stdout)["statuses"] == {"done": 13}

    where = ("method", "task")
    found = {(r["operation"], *(r["coordinates"][name] for name in where)): r for r in records(tmp_path / "results")}
    trained = found["train", "lora(rank=4)", None]
    assert trained["metrics"]["optimizer_steps"] == 12
    assert len(trained["optimizer_steps"]["seconds"]) == 12
    assert trained["curve"][-1]["validation_loss"] < trained["curve"][0]["validation_loss"]
    assert all("lora_" in name for name in trained["observed"]["trainable"])
    for record in found.values():
        explained = sum(span["seconds"] for span in record["spans"])
        assert abs(record["wall_seconds"] - explained) <= max(0.05, 0.02 * record["wall_seconds"])
    divergence = found["eval", "int8", "perplexity(windows=8)"]["metrics"]["kl_divergence"]
    assert 0 < divergence < 0.01
    assert "int8" in found["compress", "int8", None]["observed"]["model"]["quantized_layers"]

    page = tmp_path / "reports" / "small" / "index.html"
    before = {path.name: path.read_bytes() for path in page.parent.iterdir() if path.is_file()}
    second = harness("run", str(suite))
    assert second.returncode == 0, second.stderr
    assert "nothing to run: 13 steps done already" in second.stdout
    assert {path.name: path.read_bytes() for path in page.parent.iterdir() if path.is_file()} == before
    for method in ("base", "int8", "lora(rank=4) &gt; int8"):
        assert method in page.read_text()

    own = (tmp_path / "results" / ".cache" / "installation").read_text().strip()
    told = harness("plan", str(suite)).stdout
    assert "0 to run, 13 done already" in told and "measured elsewhere" not in told
    (tmp_path / "results" / ".cache" / "installation").write_text("0123456789ab")
    told = harness("plan", str(suite)).stdout
    assert "13 to run, 0 done already" in told
    assert told.splitlines()[-1].startswith(f"measured elsewhere: `harness report small --installation {own}`")
    (tmp_path / "results" / ".cache" / "installation").write_text(own)

    rows = list(csv.DictReader(io.StringIO(harness("rows", "--csv", "-").stdout)))
    measured = [row for row in rows if row["metric"] == "kl_divergence" and row["method"] == "int8"]
    assert [float(row["value"]) for row in measured] == [pytest.approx(divergence)]


@pytest.mark.slow
def test_spawn_measures_the_same_quality_as_fork(harness, tmp_path: Path) -> None:
    suite = tmp_path / "one.yaml"
    suite.write_text("name: one\nmethod: base\nhardware: {device: cpu, threads: 2}\ntasks: perplexity(windows=8)\n")
    found = {}
    for mode in ("fork", "spawn"):
        done = harness("run", str(suite), "--isolation", mode, "--results", mode, "--no-report", "--json")
        assert done.returncode == 0, done.stderr
        (record,) = [r for r in records(tmp_path / mode) if r["operation"] == "eval"]
        found[mode] = record
    assert found["fork"]["metrics"]["loss"] == pytest.approx(found["spawn"]["metrics"]["loss"], abs=1e-6)
    assert found["fork"]["step"] == found["spawn"]["step"]
    assert found["fork"]["environment"]["hard_id"] != found["spawn"]["environment"]["hard_id"]


@pytest.mark.slow
def test_jobs_planned_here_run_one_by_one(harness, tmp_path: Path) -> None:
    suite = tmp_path / "jobs.yaml"
    suite.write_text("name: jobs\nmethod: int8\nhardware: {device: cpu, threads: 1}\ntasks: perplexity(windows=2)\n")
    assert harness("plan", "jobs.yaml", "--jobs", "todo").returncode == 0
    files = sorted((tmp_path / "todo").glob("*.json"))
    assert len(files) == 3  # compress, the reference's evaluation, its own
    for file in files:
        done = harness("run", "--job", str(file), "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        assert json.loads(done.stdout)["status"] == "done"


@pytest.mark.slow
def test_a_failing_technique_is_one_row_and_exit_code_one(harness, tmp_path: Path) -> None:
    suite = tmp_path / "bad.yaml"
    suite.write_text(
        "name: bad\nmethod: [base, 'lora(target_modules=nowhere)']\nhardware: {device: cpu, threads: 2}\n"
        "tasks: perplexity(windows=4)\nbudget: {steps: 2}\n"
    )
    done = harness("run", str(suite), "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["statuses"] == {"done": 1, "failed": 1, "skipped": 1}
    assert "LoRA cannot be added" in (tmp_path / "reports" / "bad" / "README.md").read_text()
