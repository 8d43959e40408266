"""Code that is run is the harness's own, installed, or named on the command line; no folder and no variable names any."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

TECHNIQUE = """
from pathlib import Path
from harness.contract import Adapter

class Own(Adapter):
    "Does nothing."
    summary = "does nothing"
    source = "none"
    kinds = frozenset({"none", "causal"})
"""
SUITE = "method: [base, {name}]\nmodel: embedded\ntasks: nothing(number=1)\n"
# What the processes of a sweep import, and what Python itself looks for.
SHADOWS = ("select", "json", "yaml", "torch", "numpy", "transformers", "harness", "sitecustomize", "usercustomize", "pip")


def harness(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """The command as it is installed: the folder that it is started in is not on its path."""
    command = [sys.executable, "-P", "-m", "harness", *arguments]
    environment = {**os.environ, "HARNESS_REMEASURE": "0", **variables}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=250)


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A suite's folder with everything that a program may pick up by itself; whatever runs leaves the file ``ran``."""
    code = f"open({str(tmp_path / 'ran')!r}, 'a').write(__name__ + '\\n')\n"
    folder = tmp_path / "suite"
    own = folder / "evil-1.0.dist-info"
    own.mkdir(parents=True)
    for name in SHADOWS:
        (folder / f"{name}.py").write_text(code)
    (folder / "evil.py").write_text(code + TECHNIQUE)
    (own / "METADATA").write_text("Metadata-Version: 2.1\nName: evil\nVersion: 1.0\n")
    (own / "entry_points.txt").write_text("[harness.adapters]\nevil = evil\n")
    (folder / ".env").write_text("HARNESS_PLUGINS=evil=evil\nPYTHONPATH=.\n")
    (folder / "pyproject.toml").write_text('[project.entry-points."harness.adapters"]\nevil = "evil"\n')
    (folder / "good.yaml").write_text(SUITE.format(name="int8"))
    (folder / "evil.yaml").write_text(SUITE.format(name="evil") + "plugins: [evil.py]\n")
    (folder / "named.yaml").write_text(SUITE.format(name="evil"))
    return folder


def job_of(folder: Path, technique: str) -> Path:
    """The one job of a technique that was planned to the folder ``jobs``."""
    files = [path for path in (folder / "jobs").iterdir() if path.suffix == ".json"]
    (found,) = [file for file in files if json.loads(file.read_text())["adapter"]["name"] == technique]
    return found


@pytest.mark.parametrize("isolation", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_a_sweep_runs_no_file_of_the_folder_that_it_is_started_in(hostile: Path, isolation: str) -> None:
    done = harness(hostile, "run", "good.yaml", "--isolation", isolation, "--no-report", HARNESS_PLUGINS="evil=evil")
    assert done.returncode == 0, done.stderr
    assert not (hostile.parent / "ran").exists(), (hostile.parent / "ran").read_text()


def test_neither_a_suite_nor_a_variable_names_code(hostile: Path) -> None:
    for suite, told in (("evil.yaml", "plugins"), ("named.yaml", "unknown technique 'evil'")):
        done = harness(hostile, "run", suite, HARNESS_PLUGINS="evil=evil")
        assert done.returncode == 2 and told in done.stderr, done.stderr
    assert "evil" not in harness(hostile, "list", HARNESS_PLUGINS="evil=evil").stdout
    assert not (hostile.parent / "ran").exists()


def test_the_command_line_names_code_and_the_record_tells_which(hostile: Path) -> None:
    """By file, which carries it to the worker from anywhere."""
    harness(hostile, "--plugin", "evil.py", "plan", "named.yaml", "--jobs", "jobs")
    done = harness(hostile.parent, "run", "--job", str(job_of(hostile, "evil")), "--json")
    record = json.loads(done.stdout)
    assert record["status"] == "done", done.stderr
    assert set((hostile.parent / "ran").read_text().split()) == {"plugin_evil"}
    found = record["job"]["adapter"]
    assert found["module"] == "evil.py" and len(found["sha256"]) == 64


def test_a_package_that_is_installed_is_found(tmp_path: Path) -> None:
    """A distribution as pip leaves it, in a folder of the path."""
    (tmp_path / "site" / "mine-1.0.dist-info").mkdir(parents=True)
    (tmp_path / "site" / "mine.py").write_text(TECHNIQUE)
    about = tmp_path / "site" / "mine-1.0.dist-info"
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[harness.adapters]\nmine = mine\n")
    (tmp_path / "mine.yaml").write_text(SUITE.format(name="mine"))
    site = {"PYTHONPATH": str(tmp_path / "site")}
    listed = json.loads(harness(tmp_path, "list", "--json", **site).stdout)
    assert "mine" in {technique["name"] for technique in listed["techniques"]}
    harness(tmp_path, "plan", "mine.yaml", "--jobs", "jobs", **site)
    done = harness(tmp_path, "run", "--job", str(job_of(tmp_path, "mine")), **site)
    assert done.returncode == 0, done.stderr + done.stdout


def test_a_plug_in_that_was_changed_since_it_was_planned_does_not_run(hostile: Path) -> None:
    harness(hostile, "--plugin", "evil.py", "plan", "named.yaml", "--jobs", "jobs")
    with (hostile / "evil.py").open("a") as file:
        file.write("# another one\n")
    done = harness(hostile, "run", "--job", str(job_of(hostile, "evil")))
    assert done.returncode == 1 and "another one here than it was when this was planned" in done.stdout, done.stdout
