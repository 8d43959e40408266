"""A gate of the real harness in a repository of its own: the workers run the code of their checkout."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.quiet

ROOT = Path(__file__).resolve().parents[2]
SUITE = """
name: tiny
question: Does a gate see what a commit does to a task?
method: [base, int8]
precision: fp32
hardware: {device: cpu, threads: 2}
tasks: perplexity(windows=4)
"""
TASK = Path("harness/tasks/perplexity.py")


def git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), "-c", "user.name=t", "-c", "user.email=t@example.org", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.slow
def test_a_quality_that_a_commit_spoils(tmp_path: Path) -> None:
    root = tmp_path / "repository"
    shutil.copytree(ROOT / "harness", root / "harness", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", ".gitignore"):
        shutil.copy(ROOT / name, root / name)
    (root / "suites").mkdir()
    (root / "suites" / "tiny.yaml").write_text(SUITE)
    git(root, "init", "-q", "-b", "main")
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "good")
    text = (root / TASK).read_text()
    spoiled = text.replace('job.meter.metric("perplexity", ', 'job.meter.metric("perplexity", 1.02 * ', 1)
    assert spoiled != text
    (root / TASK).write_text(spoiled)
    git(root, "commit", "-q", "-a", "-m", "bad")

    command = [sys.executable, "-m", "harness", "gate", "tiny", "--base", "main~1", "--head", "main", "--pairs", "2"]
    variables = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run([*command, "--json"], cwd=root, env=variables, capture_output=True, text=True, timeout=280)
    assert done.returncode == 1, done.stderr
    found = {(case["place"]["method"], case["metric"]): case for case in json.loads(done.stdout)["cases"]}
    worse = {key for key, case in found.items() if case["status"] == "regression"}
    assert worse == {("base", "perplexity"), ("int8", "perplexity")}
    assert found["base", "perplexity"]["change"] == pytest.approx(0.02)
    assert found["base", "wall_seconds"]["status"] == "insufficient"
    commits = set()
    for side in ("base", "head"):
        for path in (root / "results" / ".gate").glob(f"*/{side}/tiny/*/*.json"):
            if path.name != "plan.json":
                commits.add((side, json.loads(path.read_text())["commit"]["sha"]))
    assert commits == {("base", git(root, "rev-parse", "main~1")), ("head", git(root, "rev-parse", "main"))}
    assert git(root, "status", "--porcelain") == "" and len(git(root, "worktree", "list").splitlines()) == 1
