"""The workflows of .github: valid and safe by four checkers, and every command in them is one that exists.

``test_workflow_steps.py`` runs them.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer
import yaml

from harness.cli.commands import app

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT / ".github" / "workflows"
FILES = sorted(FOLDER.glob("*.yml"))
NAMES = [path.stem for path in FILES]


def with_gpu(text: str) -> str:
    """A workflow with its commented-out job taken in, as its comment says how."""
    before, _, job = text.partition("  # nightly-gpu:\n")
    assert job, "the commented-out job is where it was"
    return before + "  nightly-gpu:\n" + "".join(f"  {line[4:]}\n" for line in job.splitlines())


TEXTS = {path.stem: path.read_text() for path in FILES}
TEXTS["nightly with its GPU job"] = with_gpu(TEXTS["nightly"])
PARSED = {name: yaml.safe_load(text) for name, text in TEXTS.items()}
JOBS = [(name, job, PARSED[name]["jobs"][job]) for name in PARSED for job in PARSED[name]["jobs"]]
RUNS = [(name, job, step["run"]) for name, job, value in JOBS for step in value["steps"] if "run" in step]
COMMANDS = [
    (f"{name}/{job}", found)
    for name, job, script in RUNS
    for found in re.findall(r"\S*\bharness (.+)", script.replace("\\\n", " "))
]


def checked(*command: object) -> None:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every workflow as a file, the one with its GPU job too."""
    made = tmp_path_factory.mktemp("repository") / ".github" / "workflows"
    made.mkdir(parents=True)
    for name, text in TEXTS.items():
        (made / f"{name.replace(' ', '-')}.yml").write_text(text)
    return made


def test_the_workflows_are_there() -> None:
    assert NAMES == ["nightly", "pull-request", "weekly"]
    assert set(PARSED["weekly"][True]) == {"schedule", "workflow_dispatch"}
    assert set(PARSED["nightly"][True]) == {"schedule", "workflow_dispatch"}, "YAML 1.1 reads the key on as true"
    assert set(PARSED["pull-request"][True]) == {"pull_request"}, "never pull_request_target"
    assert [job for name, job, _ in JOBS if name.endswith("GPU job")] == ["nightly", "nightly-gpu"]


def test_they_are_valid_by_the_published_schema(folder: Path) -> None:
    program = Path(sys.executable).parent / "check-jsonschema"
    checked(program, "--builtin-schema", "vendor.github-workflows", *sorted(folder.glob("*.yml")))


def lint(*files: Path) -> None:
    """actionlint's checks by jactionlint, a fork whose wheel has the program in it, with shellcheck on every script."""
    bin = Path(sys.executable).parent
    options = ("--profile=correctness", "--no-online", "--strict-exit", f"--shellcheck={bin / 'shellcheck'}")
    checked(bin / "jactionlint", *options, *files)


def test_actionlint_and_shellcheck_find_nothing(folder: Path) -> None:
    lint(*sorted(folder.glob("*.yml")))


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ("needs: gate", "needs: gates", "gates"),
        ("needs.gate.result)", "needs.gate.resulted)", "resulted"),
        ("fetch-depth: 0", "fetch-deep: 0", "fetch-deep"),
        ('"$NUMBER"', "$NUMBER", "SC2086"),
        ("runs-on: ubuntu-latest", "runs-on: ubuntu-lastest", "ubuntu-lastest"),
    ],
)
def test_actionlint_would_find_a_mistake(tmp_path: Path, right: str, wrong: str, said: str) -> None:
    assert right in TEXTS["pull-request"]
    (tmp_path / "bad.yml").write_text(TEXTS["pull-request"].replace(right, wrong))
    with pytest.raises(AssertionError, match=said):
        lint(tmp_path / "bad.yml")


def test_zizmor_finds_nothing_of_medium_severity(folder: Path) -> None:
    program = Path(sys.executable).parent / "zizmor"
    config = ROOT / ".github" / "zizmor.yml"
    checked(program, "--offline", "--min-severity=medium", "--no-progress", "--config", config, folder)


def test_zizmor_would_find_an_injection(tmp_path: Path) -> None:
    """The check can fail: a title in a script is found."""
    bad = TEXTS["pull-request"].replace(
        "run: make test PYTHON=python", "run: echo ${{ github.event.pull_request.title }}"
    )
    folder = tmp_path / ".github" / "workflows"
    folder.mkdir(parents=True)
    (folder / "bad.yml").write_text(bad)
    with pytest.raises(AssertionError, match="template-injection"):
        test_zizmor_finds_nothing_of_medium_severity(folder)


@pytest.mark.parametrize(("name", "job", "script"), RUNS, ids=lambda value: None)
def test_scripts_are_bash_without_expressions(name: str, job: str, script: str) -> None:
    done = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True)
    assert done.returncode == 0, f"{name}/{job}: {done.stderr}"
    assert "${{" not in script, "values reach a script through its environment alone"


@pytest.mark.parametrize(("name", "job", "value"), JOBS, ids=lambda value: value if isinstance(value, str) else "")
def test_jobs_may_little_and_end(name: str, job: str, value: dict) -> None:
    assert PARSED[name]["permissions"] == {}
    writes = {"pull-requests": "write"} if job == "comment" else {"contents": "read"}
    assert value["permissions"] == writes
    assert value["timeout-minutes"] <= 120
    measures = any(" nightly " in step.get("run", "") or " gate " in step.get("run", "") for step in value["steps"])
    concurrency = value.get("concurrency") or PARSED[name].get("concurrency") or {}
    if measures:
        assert concurrency == {"group": "measure", "cancel-in-progress": False}, "two never measure at once"


def test_what_may_write_runs_no_code_of_the_pull_request() -> None:
    comment = PARSED["pull-request"]["jobs"]["comment"]
    assert [step.get("uses", "").split("@")[0] for step in comment["steps"]] == ["actions/download-artifact", ""]
    assert "head.repo.full_name == github.repository" in comment["if"]
    assert comment["steps"][1]["run"].endswith("--body-file comment.md")


def test_what_is_written_is_what_is_shown_and_kept() -> None:
    for _, _, value in JOBS:
        steps = value["steps"]
        script = "\n".join(step.get("run", "") for step in steps)
        for option in ("--junit", "--markdown"):
            for file in re.findall(rf"{option} (\S+)", script):
                uploads = [step["with"]["path"] for step in steps if "upload-artifact" in step.get("uses", "")]
                assert any(file in path.split() for path in uploads)
                assert option == "--junit" or f'cat {file} >> "$GITHUB_STEP_SUMMARY"' in script


def test_there_are_commands_to_check() -> None:
    found = [text.split()[:2] for _, text in COMMANDS]
    assert ["nightly", "suites/nightly.yaml"] in found and ["gate", "suites/nightly.yaml"] in found
    assert ["nightly", "suites/cuda/efficiency.yaml"] in found


@pytest.mark.parametrize(("where", "text"), COMMANDS, ids=[f"{where}: {text.split()[0]}" for where, text in COMMANDS])
def test_the_command_line_has_every_command_and_option(where: str, text: str) -> None:
    name, *arguments = shlex.split(text)
    commands = typer.main.get_command(app).commands
    assert name in commands, f"{where}: there is no `harness {name}`"
    commands[name].make_context(name, list(arguments))
    assert (ROOT / arguments[0]).is_file()


def test_targets_of_make_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = {target for _, _, script in RUNS for target in re.findall(r"\bmake (\S+)", script)}
    assert targets == {"setup", "test", "test-all"}
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)
