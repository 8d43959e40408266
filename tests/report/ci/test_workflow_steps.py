"""Every ``run:`` step of the workflows, run as GitHub runs it, in a fresh clone; and what they leave is what is kept.

What is not GitHub's: packages are found on PYTHONPATH instead of being downloaded, the suite is one of seconds, `make
test` runs one file, and ``gh`` is a program that writes down what it was asked.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import sysconfig
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from fakes.small_suite import write_suite

ROOT = Path(__file__).resolve().parents[3]
COPIED = ("harness", "tests", "suites", "scripts", "Makefile", "pyproject.toml", "README.md", ".gitignore", ".github")
GH = '#!/bin/sh\nprintf "%s\\n" "$@" > "$GH_ASKED"\nprintf "%s" "$GH_TOKEN" > "$GH_ASKED.token"\n'
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


def workflow(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / ".github" / "workflows" / f"{name}.yml").read_text())
    return found


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), "-c", "user.name=t", "-c", "user.email=t@example.org", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This repository's code in two commits, with a suite of seconds in place of ``suites/nightly.yaml``."""
    root = tmp_path_factory.mktemp("origin") / "repository"
    root.mkdir()
    for name in COPIED:
        source, target = ROOT / name, root / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    write_suite(root / "suites", "nightly")
    git(root, "init", "-q", "-b", "main")
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "where the pull request branched off")
    (root / "README.md").write_text("changed\n")
    git(root, "commit", "-q", "-a", "-m", "the pull request")
    return root


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages that `make setup` would download, without the harness itself."""
    folder = tmp_path_factory.mktemp("packages")
    for each in Path(sysconfig.get_paths()["purelib"]).iterdir():
        if "llm_technique_harness" not in each.name and each.suffix != ".pth":
            (folder / each.name).symlink_to(each)
    return folder


class Runner:
    """A machine that runs a job: a clone, the variables that GitHub sets, and the files behind them."""

    def __init__(self, root: Path, origin: Path, packages: Path, values: Mapping[str, str]) -> None:
        self.folder, self.temp, self.values = root / "clone", root / "temp", values
        self.temp.mkdir(parents=True)
        programs = root / "programs"
        programs.mkdir()
        (programs / "python").symlink_to(Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}")
        (programs / "gh").write_text(GH)
        (programs / "gh").chmod(0o755)
        subprocess.run(["git", "clone", "-q", str(origin), str(self.folder)], check=True)
        self.variables = {
            "PATH": f"{programs}:/usr/local/bin:/usr/bin:/bin", "HOME": str(root), "LANG": "C.UTF-8", "CI": "true",
            "GITHUB_ACTIONS": "true", "GITHUB_WORKSPACE": str(self.folder), "RUNNER_TEMP": str(self.temp),
            **{name: str(self.file(name)) for name in ("GITHUB_STEP_SUMMARY", "GITHUB_OUTPUT", "GITHUB_ENV")},
            "PYTHONPATH": str(packages), "PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "0",
            "MAKEFLAGS": " -- TESTED=", "PYTEST_ADDOPTS": "-p no:cacheprovider tests/test_packaging.py",
            "GH_ASKED": str(root / "asked"),
        }  # fmt: skip

    def file(self, name: str) -> Path:
        """The file behind one of GitHub's variables."""
        path = self.temp / name.lower()
        path.touch()
        return path

    def value(self, text: Any) -> str:
        """Text with its expressions replaced; ``KeyError`` for one that is not known here."""
        return re.sub(r"\$\{\{ (.+?) \}\}", lambda found: self.values[found[1]], str(text))

    def run(self, job: Mapping[str, Any]) -> Iterator[tuple[str, int, str]]:
        """Name, exit code and output of every step that runs a script, with the shell that ``shell: bash`` means."""
        for step in job["steps"]:
            if "run" not in step:
                continue
            told = {name: self.value(value) for name, value in {**job.get("env", {}), **step.get("env", {})}.items()}
            script = self.temp / "step.sh"
            script.write_text(step["run"])
            done = subprocess.run(
                ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(script)], cwd=self.folder,
                env={**self.variables, **told}, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            )  # fmt: skip
            yield step["name"], done.returncode, done.stdout + done.stderr

    def kept(self, job: Mapping[str, Any]) -> list[Path]:
        """The paths that the job's steps upload or put into a cache."""
        steps = [step for step in job["steps"] if re.search("upload-artifact|cache/save", step.get("uses", ""))]
        return [self.folder / path for step in steps for path in step["with"]["path"].split()]


def succeed(runner: Runner, job: Mapping[str, Any]) -> dict[str, str]:
    """Run the job; its steps' outputs by name, after each has succeeded."""
    said = {}
    for name, code, output in runner.run(job):
        assert code == 0, f"{name}: {output[-3000:]}"
        said[name] = output
    return said


def test_two_nights_on_machines_that_remember_nothing(tmp_path: Path, repository: Path, packages: Path) -> None:
    job = workflow("nightly")["jobs"]["nightly"]
    values = {"vars.HARNESS_STORE || 'store'": "store", "vars.AWS_DEFAULT_REGION || 'us-east-1'": "us-east-1",
              "secrets.AWS_ACCESS_KEY_ID": "", "secrets.AWS_SECRET_ACCESS_KEY": ""}  # fmt: skip
    assert workflow("nightly")["defaults"] == {"run": {"shell": "bash"}}
    first = Runner(tmp_path / "first", repository, packages, values)
    assert list(succeed(first, job)) == ["Set up", "Measure", "Show the summary"]
    assert [path for path in first.kept(job) if not path.exists()] == []
    assert {path.name for path in first.kept(job)} == {"store", "junit.xml", "summary.md", "reports"}
    second = Runner(tmp_path / "second", repository, packages, values)
    shutil.copytree(first.folder / "store", second.folder / "store")  # the cache
    said = succeed(second, job)
    nights = [json.loads(path.read_text()) for path in (second.folder / "store" / "nightly" / "nights").glob("*.json")]
    head = git(repository, "rev-parse", "HEAD")
    assert [night["commit"] for night in nights] == [{"sha": head, "dirty": False}] * 2, "what steps leave is no change"
    assert any(line.startswith("::warning title=insufficient") for line in said["Measure"].splitlines())
    summary = Path(second.variables["GITHUB_STEP_SUMMARY"]).read_text()
    assert "2 nights, the last one" in summary and summary == (second.folder / "summary.md").read_text()
    assert (second.folder / "reports" / "nightly" / "README.md").is_file()


def test_a_pull_request_is_tested(tmp_path: Path, repository: Path, packages: Path) -> None:
    runner = Runner(tmp_path, repository, packages, {})
    said = succeed(runner, workflow("pull-request")["jobs"]["test"])
    assert re.search(r"\d+ passed", said["Test"]), said["Test"]


def test_a_pull_request_is_measured_and_told(tmp_path: Path, repository: Path, packages: Path) -> None:
    jobs = workflow("pull-request")["jobs"]
    base, head = git(repository, "rev-parse", "HEAD~1"), git(repository, "rev-parse", "HEAD")
    runner = Runner(tmp_path / "gate", repository, packages, {
        "github.event.pull_request.base.sha": base, "github.event.pull_request.head.sha": head,
    })  # fmt: skip
    succeed(runner, jobs["gate"])
    assert [path for path in runner.kept(jobs["gate"]) if not path.exists()] == []
    comment = (runner.folder / "comment.md").read_text()
    assert Path(runner.variables["GITHUB_STEP_SUMMARY"]).read_text() == comment and len(comment) < 65_536
    assert base[:12] in comment and head[:12] in comment and "10 pairs" in comment
    cases = list(ElementTree.parse(runner.folder / "junit.xml").getroot().iter("testcase"))
    assert len(cases) > 5 and not any(case.find("failure") is not None for case in cases)

    teller = Runner(tmp_path / "comment", repository, packages, {
        "github.token": "of the job", "github.event.pull_request.number": "7", "github.repository": "owner/name",
    })  # fmt: skip
    for path in runner.kept(jobs["gate"]):
        shutil.copy(path, teller.folder)  # the artifact
    succeed(teller, jobs["comment"])
    asked = Path(teller.variables["GH_ASKED"])
    assert asked.read_text().split() == ["pr", "comment", "7", "--repo", "owner/name", "--body-file", "comment.md"]
    assert asked.with_suffix(".token").read_text() == "of the job"


def test_a_night_that_cannot_be_kept_fails_and_says_so(tmp_path: Path, repository: Path, packages: Path) -> None:
    """The step's own exit code ends the job, and what comes ``always()`` after it still runs."""
    job = workflow("nightly")["jobs"]["nightly"]
    values = {"vars.HARNESS_STORE || 'store'": "README.md/store", "vars.AWS_DEFAULT_REGION || 'us-east-1'": "x",
              "secrets.AWS_ACCESS_KEY_ID": "", "secrets.AWS_SECRET_ACCESS_KEY": ""}  # fmt: skip
    runner = Runner(tmp_path, repository, packages, values)
    found = {name: (code, output) for name, code, output in runner.run(job)}
    assert found["Measure"][0] == 3 and "harness: " in found["Measure"][1], found["Measure"][1]
    assert found["Show the summary"][0] == 0 and Path(runner.variables["GITHUB_STEP_SUMMARY"]).read_text() == ""
