"""Opening adapters: what one method of PEFT needs is not asked for by the others."""

from __future__ import annotations

import sys

import pytest


@pytest.fixture
def without_aenum(monkeypatch):
    """As on a machine without the package, in a process that has not opened a bottleneck yet."""
    for name in ("aenum", "harness.models.bottleneck"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delattr("harness.models.bottleneck", raising=False)


@pytest.mark.parametrize("technique", ["lora", "qlora", "prefix_tuning"])
def test_adapters_of_pefts_own_methods_open_without_aenum(run, llama, open_live, logits, without_aenum, technique):
    made = run(technique, llama, job={"steps": 1}).checkpoint
    assert logits(open_live(made)).isfinite().all()


def test_a_bottleneck_opens_where_nothing_registered_it_before(run, llama, tmp_path):
    """In a process of its own: registering is for the whole of one."""
    import subprocess

    made = run("bottleneck_adapter", llama, job={"steps": 1}).checkpoint
    code = (
        "from pathlib import Path\n"
        "from harness.contract import Checkpoint, Hardware\n"
        "from harness.models.loading import load_model\n"
        f"parts = {{name: Path(path) for name, path in {({n: str(p) for n, p in made.parts.items()})!r}.items()}}\n"
        "model = load_model(Checkpoint('causal', parts), 'fp32', Hardware(threads=1))\n"
        "print(any('bottleneck' in name for name, _ in model.named_modules()))\n"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["True"]
