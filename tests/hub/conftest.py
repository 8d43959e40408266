"""A hub on loopback and the command line that asks it, each with a cache of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from hub_server import Hub, serving

ROOT = Path(__file__).resolve().parents[2]
EMBEDDED = ROOT / "harness" / "models" / "embedded"
Harness = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serving() as found:
        yield found


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Where the hub's library keeps everything of a test."""
    return tmp_path / "huggingface"


@pytest.fixture
def harness(hub: Hub, home: Path, tmp_path: Path) -> Harness:
    """Run ``harness ARGUMENTS`` in ``tmp_path`` against the hub on loopback, with an empty cache of its own."""

    def call(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
        variables = kept | {
            "HF_ENDPOINT": hub.url, "HF_HOME": str(home), "PYTHONPATH": str(ROOT), "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1", "NO_PROXY": "*", **environment,
        }  # fmt: skip
        command = [sys.executable, "-m", "harness", *map(str, arguments)]
        return subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=280)

    return call


@pytest.fixture
def embedded() -> dict[str, bytes]:
    """The files of the embedded model."""
    return {file.name: file.read_bytes() for file in EMBEDDED.iterdir() if file.suffix in (".json", ".safetensors")}


@pytest.fixture
def suite(tmp_path: Path) -> Callable[..., Path]:
    """Write a suite: ``suite(model="hub:org/tiny", tasks="perplexity")``."""

    def write(name: str = "mine", **lines: object) -> Path:
        given = {"method": "base", **lines}
        file = tmp_path / f"{name}.yaml"
        file.write_text("".join(f"{key}: {json.dumps(value)}\n" for key, value in given.items()))
        return file

    return write
