"""Whatever a user gets wrong: one clear line, exit code 2 (3 for the results folder), nothing half-written."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

CASES = {
    "broken_yaml": ("method: [base\n", "wrong.yaml:2: not valid YAML"),
    "unknown_key": ("method: base\nmodle: embedded\n", "did you mean 'model'"),
    "unknown_technique": ("method: lorra\n", "did you mean 'lora'"),
    "unknown_parameter": ("method: lora(rnak=4)\n", "did you mean 'rank'"),
    "bad_value": ("method: lora(rank=zero)\n", "rank"),
    "unknown_task": ("method: base\ntasks: perplexty\n", "did you mean 'perplexity'"),
    "unknown_precision": ("method: base\nprecision: fp64\n", "precision"),
    "empty_sweep": ("method: []\n", "method"),
    "everything_excluded": ("method: base\nexclude: [{method: base}]\ntasks: perplexity\n", "every cell is excluded"),
    "missing_data": ("method: base\ndata: ./nothing.txt\ntasks: perplexity\n", "nothing.txt"),
    "no_model_folder": ("method: base\nmodel: ./nowhere\ntasks: perplexity\n", "nowhere"),
    "unbalanced_method": ("method: 'lora(rank=4'\n", "column"),
}


@pytest.mark.parametrize("name", sorted(CASES))
def test_a_wrong_suite_is_one_line(harness, tmp_path: Path, name: str) -> None:
    text, expected = CASES[name]
    (tmp_path / "wrong.yaml").write_text(text)
    done = harness("run", "wrong.yaml")
    assert done.returncode == 2, done.stdout + done.stderr
    assert expected in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert not (tmp_path / "results").exists() or not list((tmp_path / "results").glob("*/*/*.json"))


def test_a_suite_that_is_not_there(harness) -> None:
    done = harness("plan", "quikc", cwd=Path(__file__).resolve().parents[2])
    assert done.returncode == 2
    assert "did you mean 'quick'" in done.stderr


def test_a_folder_that_is_no_model(harness, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "wrong.yaml").write_text("method: base\nmodel: ./folder\ntasks: perplexity\n")
    done = harness("run", "wrong.yaml")
    assert done.returncode == 2
    assert "not a model folder" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_data_without_text(harness, tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("\n \n")
    (tmp_path / "wrong.yaml").write_text("method: base\ndata: ./empty.txt\ntasks: perplexity\n")
    done = harness("run", "wrong.yaml")
    assert done.returncode == 2, done.stdout + done.stderr
    assert "empty.txt" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_results_folder_that_is_a_file(harness, tmp_path: Path) -> None:
    (tmp_path / "ok.yaml").write_text("method: base\ntasks: perplexity\n")
    (tmp_path / "results").write_text("in the way")
    done = harness("run", "ok.yaml")
    assert done.returncode == 3
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write to a read-only folder")
def test_a_read_only_results_folder(harness, tmp_path: Path) -> None:
    (tmp_path / "ok.yaml").write_text("method: base\ntasks: perplexity\n")
    (tmp_path / "results").mkdir(mode=0o555)
    done = harness("run", "ok.yaml")
    assert done.returncode == 3
    assert "results" in done.stderr


def test_records_of_a_newer_version_are_named(harness, tmp_path: Path) -> None:
    (tmp_path / "ok.yaml").write_text("name: ok\nmethod: base\ntasks: perplexity(windows=2)\n")
    folder = tmp_path / "results" / "ok" / "0123456789ab"
    folder.mkdir(parents=True)
    (folder / "0123456789abcdef.1.json").write_text(json.dumps({"format": 99}))
    done = harness("rows", "ok", "--csv", "-")
    assert done.returncode == 2, done.stdout + done.stderr  # there is no other record
    assert "0123456789abcdef.1.json" in done.stderr and "format 99" in done.stderr
    done = harness("run", "ok.yaml")
    assert done.returncode == 3, done.stdout + done.stderr
    assert "format 99" in done.stderr and len(done.stderr.strip().splitlines()) == 1


def test_a_plan_of_a_newer_version_is_named(harness, tmp_path: Path) -> None:
    (tmp_path / "ok.yaml").write_text("name: ok\nmethod: base\ntasks: perplexity(windows=2)\n")
    folder = tmp_path / "results" / "ok" / "0123456789ab"
    folder.mkdir(parents=True)
    (folder / "plan.json").write_text(json.dumps({"format": 99, "cells": 3}))
    done = harness("report", "ok.yaml")
    assert done.returncode in (2, 3), done.stdout + done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("report", "ok.yaml"), "no results for suite 'ok'"),
        (("plan", "ok.yaml", "--isolation", "frok"), "unknown isolation mode 'frok'"),
        (("plan", "nothing.yaml"), "nothing to measure"),
        (("run", "--job", "job.json"), "'hardware' has another shape"),
    ],
)
def test_other_wrong_requests_are_one_line_too(harness, tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    (tmp_path / "ok.yaml").write_text("name: ok\nmethod: base\ntasks: perplexity(windows=2)\n")
    (tmp_path / "nothing.yaml").write_text("method: base\ntasks: []\n")
    job = dict.fromkeys(("step", "suite", "operation", "adapter", "precision"), "x")
    (tmp_path / "job.json").write_text(json.dumps({**job, "format": 1, "coordinates": {}, "hardware": 5}))
    done = harness(*arguments)
    assert done.returncode == 2, done.stdout + done.stderr
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
