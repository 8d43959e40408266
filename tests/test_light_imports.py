"""What only reads suites and files starts at once: none of the heavy packages is loaded for it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.quiet

HEAVY = {"torch", "transformers", "numpy", "pandas", "peft", "datasets", "pyarrow", "scipy", "bitsandbytes", "altair"}
SUITE = """
name: small
question: does planning stay light?
data: source
models:
  tiny: {architecture: llama, layers: 2}
sweeps:
  - {method: "bpe > clm", model: tiny, tasks: [perplexity], budget: {steps: 5}}
  - {method: [base, "lora(rank=[4, 8]) + gradient_checkpointing", qlora, lora > int8, int4], model: embedded,
     precision: [fp32, bf16-mixed], tasks: [perplexity, choice, generation_speed], budget: {steps: 5}}
"""


def loaded(arguments, folder):
    """Top-level packages that ``harness ARGUMENTS`` loads, and its output."""
    command = [sys.executable, "-X", "importtime", "-m", "harness", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env={**os.environ, "COLUMNS": "200"})
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    assert done.returncode == 0, [line for line in done.stderr.splitlines() if line not in lines][-5:]
    assert len(lines) > 50, "the interpreter reported its imports"
    return {line.rsplit("|", 1)[-1].strip().split(".")[0] for line in lines}, done.stdout


@pytest.mark.parametrize("arguments", [("--help",), ("run", "--help"), ("list", "--json")], ids=" ".join)
def test_asking_loads_no_heavy_package(arguments, tmp_path):
    found, output = loaded(arguments, tmp_path)
    assert "harness" in found
    assert not HEAVY & found
    assert output.strip()


@pytest.mark.parametrize("form", [(), ("--json",)], ids=["table", "json"])
def test_planning_loads_no_heavy_package(form, tmp_path):
    (tmp_path / "small.yaml").write_text(SUITE)
    found, output = loaded(("plan", "small.yaml", *form), tmp_path)
    assert "yaml" in found, "a suite was read"
    assert not HEAVY & found
    assert "lora" in output and "int8" in output
