"""A git repository whose ``harness`` is a stand-in, and the gate pointed at it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from harness.cli import gate_sides, gating
from harness.cli.gating import Asked
from harness.cli.judging import Outputs, Sources

HERE = Path(__file__).parent
USUAL = {"methods": ["base", "lora"], "seconds": 1.0, "perplexity": 8.0}
PROJECT = '[project]\nname = "x"\ndependencies = ["torch==2.13.0", "numpy>=2"]\n'


class Repository:
    """A repository with commits of behaviours; ``ran`` tells (side, attempt, suite) of every run in order."""

    def __init__(self, root: Path, log: Path) -> None:
        self.root, self.log = root, log

    def git(self, *arguments: str) -> str:
        who = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
        command = ["git", "-C", str(self.root), *who, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    def behave(self, **changed: Any) -> None:
        (self.root / "behaviour.json").write_text(json.dumps(USUAL | changed))

    def commit(self, tag: str, **changed: Any) -> str:
        self.behave(**changed)
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", tag)
        self.git("tag", tag)
        return self.git("rev-parse", "HEAD")

    def write(self, file: str, text: str) -> None:
        path = self.root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def ran(self) -> list[tuple[str, int, str]]:
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [(side, int(attempt), suite) for side, attempt, suite in (line.split(maxsplit=2) for line in lines)]

    def worktrees(self) -> int:
        return len(self.git("worktree", "list").splitlines())


@pytest.fixture
def repository(tmp_path: Path, synthetic: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """A repository with the tag ``good``."""
    root = tmp_path / "repository"
    made = Repository(root, tmp_path / "log")
    made.write("harness/__init__.py", "")
    made.write("harness/__main__.py", (HERE / "stand_in.py").read_text())
    made.write("template.json", json.dumps(synthetic.record("train", "base")))
    made.write("suites/tiny.yaml", "suite: 1")
    made.write("pyproject.toml", PROJECT)
    made.write(".gitignore", "__pycache__/\n")
    subprocess.run(["git", "init", "-q", "-b", "main", str(root)], check=True)
    made.commit("good")
    monkeypatch.setenv("STAND_IN_LOG", str(made.log))
    monkeypatch.setenv("PYTHONPATH", str(root.parent / "nothing"))
    monkeypatch.setattr(gate_sides, "repository", lambda: root)
    return made


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Run a gate in a folder of its own."""

    def call(base: str | None = "good", head: str | None = "new", suite: str = "tiny", pairs: int = 10,
             strict: bool = False, json: bool = False, **more: Any) -> int:  # fmt: skip
        monkeypatch.chdir(tmp_path)
        pythons = {side: more.pop(f"{side}_python", None) for side in ("base", "head")}
        sources = Sources(tmp_path / "results", None)
        asked = Asked(suite, {"base": base, "head": head}, pythons, pairs, 0, sources, **more)
        return gating.gate(asked, Outputs(None, tmp_path / "gate.xml", tmp_path / "gate.md", False, json, strict))

    return call


