"""Environments for tests: made ones in a temporary place, and the real ones that `make test` has set up."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import environments

ROOT = Path(__file__).parents[1]


@pytest.fixture
def defined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Define an environment of this test; the places of definitions and of environments are temporary."""
    home = tmp_path / "definitions"
    home.mkdir()
    monkeypatch.setattr(environments, "DEFINITIONS", home)
    monkeypatch.setenv("HARNESS_ENVIRONMENTS", str(tmp_path / "environments"))

    def define(name: str, packages: list[str], imports: list[str], **variables: str) -> Path:
        file = home / f"{name}.toml"
        lines = [
            'summary = "a test"', 'techniques = ["misbehave"]', f"imports = {json.dumps(imports)}", "preload = []",
            "[[install]]", f"packages = {json.dumps(packages)}", 'options = ["--no-index", "--no-deps"]', "[variables]",
            *(f'{key} = "{value}"' for key, value in variables.items()),
        ]  # fmt: skip
        file.write_text("\n".join(lines) + "\n")
        return file

    return define


@pytest.fixture
def wheel(tmp_path: Path) -> Callable[..., str]:
    """Write a wheel by hand: one module of a stated version."""

    def write(name: str, version: str, code: str = "") -> str:
        file = tmp_path / f"{name}-{version}-py3-none-any.whl"
        info = f"{name}-{version}.dist-info"
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr(f"{name}.py", code or f'VERSION = "{version}"\n')
            archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
            archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nTag: py3-none-any\n")
            archive.writestr(f"{info}/RECORD", "")
        return str(file)

    return write


@pytest.fixture(scope="session")
def needs() -> Callable[[str], None]:
    """Skip where a real environment is not set up, with the command that makes it."""

    def check(name: str) -> None:
        if reason := environments.lacking(name):
            pytest.skip(reason)

    return check


@pytest.fixture(scope="session")
def run_suite(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, Any]]:
    """Run a suite by the command line; return its records by (method, task) and by (method, operation)."""

    def run(text: str) -> dict[str, Any]:
        folder = tmp_path_factory.mktemp("suite")
        (folder / "small.yaml").write_text(text)
        command = [sys.executable, "-m", "harness", "run", "small.yaml", "--no-report"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        files = [path for path in sorted((folder / "results").glob("*/*/*.json")) if path.name != "plan.json"]
        records = [json.loads(path.read_text()) for path in files]
        found = {"output": done.stdout + done.stderr, "code": done.returncode, "cache": folder / "results" / ".cache"}
        found["left"] = sorted(path.name for path in folder.iterdir())
        for record in records:
            where = record["coordinates"]
            found[where["method"], where["task"] or record["operation"]] = record
        return found

    return run


@pytest.fixture(scope="session")
def gguf_importable(needs: Callable[[str], None]) -> Iterator[None]:
    """Let this process import llama.cpp's packages, none of which the main environment has."""
    needs("gguf")
    (place,) = environments.folder("gguf").glob("lib/python*/site-packages")
    sys.path.append(str(place))
    yield
    sys.path.remove(str(place))
