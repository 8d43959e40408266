"""Gates of two environments: virtual environments with a harness of their own, and what is wrong with one is told."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from harness.cli.gating import Asked
from harness.cli.gating import gate as gate_here
from harness.cli.judging import Outputs, Sources
from harness.errors import UsageError
from harness.results.record import FORMAT
from harness.run.interpreters import Harness, Interpreter, check, differing
from harness.run.pairs import SIDES

ROOT = Path(__file__).resolve().parents[2]
SUITE = """
name: tiny
question: Does a gate see what an environment does to a task?
method: base
precision: fp32
hardware: {device: cpu, threads: 2}
tasks: perplexity(windows=4)
"""
TASK = Path("tasks/perplexity.py")
OWN = Path(sysconfig.get_paths()["purelib"])


def environment(folder: Path, version: str = "") -> Path:
    """A virtual environment with the packages of this one; its own harness, a copy, where a ``version`` is given."""
    venv.create(folder, with_pip=False)
    (site,) = folder.glob("lib/*/site-packages")
    (site / "others.pth").write_text(f"{OWN}\n")  # a line, so that its editable harness is not found
    if version:
        shutil.copytree(ROOT / "harness", site / "harness", ignore=shutil.ignore_patterns("__pycache__"))
        told = site / f"llm_technique_harness-{version}.dist-info"
        told.mkdir()
        (told / "METADATA").write_text(f"Metadata-Version: 2.1\nName: llm-technique-harness\nVersion: {version}\n")
    return site


def edit(file: Path, before: str, after: str) -> None:
    text = file.read_text()
    assert before in text
    file.write_text(text.replace(before, after, 1))


def gate(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {"PYTHONSAFEPATH": "1"}
    command = [sys.executable, "-m", "harness", "gate", "tiny.yaml", *arguments]
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, timeout=280)
    assert "Traceback" not in done.stderr, done.stderr
    return done


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A suite, and next to it a folder called ``harness`` that is none: what lies where one types is not imported."""
    (tmp_path / "tiny.yaml").write_text(SUITE)
    (tmp_path / "harness").mkdir()
    (tmp_path / "harness" / "__init__.py").write_text("raise SystemExit('the wrong harness')\n")
    return tmp_path


@pytest.mark.slow
def test_a_quality_that_an_environment_spoils(folder: Path) -> None:
    environment(folder / "old", "1.0")
    spoiled = environment(folder / "new", "1.1") / "harness" / TASK
    edit(spoiled, 'job.meter.metric("perplexity", ', 'job.meter.metric("perplexity", 1.02 * ')
    sides = ("--base-python", "old", "--head-python", "new/bin/python")
    done = gate(folder, *sides, "--pairs", "2", "--json", "--junit", "gate.xml")
    assert done.returncode == 1, done.stdout + done.stderr
    told = json.loads(done.stdout)
    worse = [case for case in told["cases"] if case["status"] == "regression"]
    assert [(case["metric"], round(case["change"], 4)) for case in worse] == [("perplexity", 0.02)]
    facts = " ".join(told["facts"])
    assert "Base the harness 1.0 installed in old, head the harness 1.1 installed in new/bin/python" in facts
    assert "packages that differ: llm-technique-harness 1.0 -> 1.1." in facts and "Machine: " in facts
    (ledger,) = (folder / "results" / ".gate").glob("*/pairs.json")
    about = json.loads(ledger.read_text())["about"]
    assert [about[side]["packages"]["llm-technique-harness"] for side in ("base", "head")] == ["1.0", "1.1"]
    assert about["base"]["packages"]["torch"] == about["head"]["packages"]["torch"]


def test_what_is_wrong_with_an_environment_is_one_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PYTHONPATH", "")
    environment(folder / "none")
    environment(folder / "whole", "1.0")
    other = environment(folder / "other", "1.0") / "harness"
    edit(other / "contract.py", "MEASUREMENT_VERSION = 1", "MEASUREMENT_VERSION = 2")
    later = environment(folder / "later", "1.0") / "harness"
    edit(later / "results" / "record.py", f"FORMAT = {FORMAT}", f"FORMAT = {FORMAT + 1}")
    broken = environment(folder / "broken", "1.0") / "harness"
    (broken / "errors.py").write_text("import nowhere_to_be_found\n")
    (folder / "text").write_text("no program\n")
    (folder / "text").chmod(0o755)

    def said(base: str | None, head: str | None) -> str:
        sources, pythons = Sources(Path("results"), None), {"base": base, "head": head}
        asked = Asked("tiny.yaml", dict.fromkeys(SIDES), pythons, 10, 0, sources)
        with pytest.raises(UsageError) as told:
            gate_here(asked, Outputs(None, None, None, False, False, False))
        assert "\n" not in str(told.value) and not Path("results", ".gate").exists()
        return str(told.value)

    assert "--head-python nowhere is no interpreter that can be started" in said("whole", "nowhere")
    assert "head: none cannot import the harness (ModuleNotFoundError: No module" in said("whole", "none")
    assert "base: broken cannot import the harness (ModuleNotFoundError" in said("broken", "whole")
    assert "base measures by version 1 of the measurement, head by version 2" in said("whole", "other")
    assert f"head writes records of format {FORMAT + 1}, this harness reads up to {FORMAT}" in said("whole", "later")
    assert "is no Python that can tell its packages" in said("whole", shutil.which("true") or "true")
    assert "cannot be started: Exec format error" in said("./text", "whole")
    assert "say what head is: a git ref (--head REF), an environment (--head-python" in said("whole", None)


def test_packages_that_differ_are_named() -> None:
    base = Interpreter("3.11.7", "", {"a": "1", "B": "2"}, None)
    head = Interpreter("3.11.7", "", {"a": "1", "c": "3"}, None)
    assert differing(base, head) == ["B 2 -> none", "c none -> 3"] and differing(base, base) == []


def test_a_harness_that_is_not_known_is_not_refused() -> None:
    """Code of a ref that is older than these questions says nothing; its plan or its records will."""
    known = Interpreter("3", "", {}, Harness(Path("x"), "", 1, FORMAT, "unknown"))
    check(known, Interpreter("3", "", {}, None))
    with pytest.raises(UsageError, match=r"version 1 .* version 2"):
        check(known, Interpreter("3", "", {}, Harness(Path("x"), "", 2, FORMAT, "unknown")))
