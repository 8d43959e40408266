"""Blocks of the documents, and folders in which they are followed as a reader would."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
Follow = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def block() -> Callable[..., str]:
    """``block(page, language, number)``: the text of a fenced block of a page below ``docs``."""

    def find(page: str, language: str, number: int = 0) -> str:
        text = (ROOT / "docs" / page).read_text()
        return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)[number]

    return find


@pytest.fixture
def follow(tmp_path: Path) -> Follow:
    """Run a line of a document in ``tmp_path`` with this interpreter: ``harness ...`` or ``python ...``."""

    def run(line: str, *, cwd: Path = tmp_path, **environment: str) -> subprocess.CompletedProcess[str]:
        line = re.sub(r"^(harness|python)\b", lambda word: COMMANDS[word[0]], line)
        variables = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}.", "HARNESS_REMEASURE": "0", **environment}
        return subprocess.run(
            ["bash", "-c", line], cwd=cwd, env=variables, capture_output=True, text=True, timeout=1100
        )  # fmt: skip

    return run


COMMANDS = {"harness": f"{sys.executable} -m harness", "python": sys.executable}
