"""The archived packages: what they make is opened by the maintained library, which agrees with them."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy
import pytest

from harness import environments
from harness.plan.machine import Machine

HERE = Path(__file__).parent

OPEN = """
import json, sys
from pathlib import Path
import numpy, torch
from harness.contract import Checkpoint, Hardware
from harness.models.inspect import describe_model
from harness.models.loading import load_model
model, out = sys.argv[1:]
opened = load_model(Checkpoint("causal", {"model": Path(model)}), "fp32", Hardware())
with torch.no_grad():
    numpy.save(out, opened(input_ids=torch.arange(3, 203)[None]).logits[0].numpy())
print(json.dumps(describe_model(opened)["quantized_layers"]))
"""


def run_in(name, *arguments):
    variables = {**os.environ, **environments.variables(name, threads=2), "OMP_NUM_THREADS": "2"}
    done = subprocess.run([environments.python(name), *arguments], capture_output=True, text=True, env=variables)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_the_plan_says_that_auto_gptq_needs_cuda_before_it_asks_for_an_environment():
    from harness.plan.plan import plan
    from harness.plan.suite import load_text

    text = "name: x\nquestion: y\ndata: source\nmodel: embedded\nmethod: auto_gptq\ntasks: perplexity\n"
    found = plan(load_text(text), machine=Machine(2, 0))
    assert {step.reason for step in found.steps if step.stage.call.name == "auto_gptq"} == {
        "auto-gptq 0.7.1 refuses to quantise without CUDA; gptq, by the maintained library, runs here"
    }


@pytest.mark.slow
def test_the_maintained_library_computes_what_auto_gptq_computes(needs, tmp_path):
    needs("auto_gptq")
    needs("gptq")
    run_in("auto_gptq", str(HERE / "inside_auto_gptq.py"), str(tmp_path))
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["refused"] == "Load pretrained model to do quantization requires CUDA available."
    said = run_in("gptq", "-c", OPEN, found["model"], str(tmp_path / "theirs.npy"))
    assert json.loads(said.splitlines()[-1]) == {"gptq int4": 28}
    own, theirs = numpy.load(tmp_path / "logits.npy"), numpy.load(tmp_path / "theirs.npy")
    # Embeddings are shipped in 16 bits, the package keeps 32.
    assert abs(own - theirs).max() < 0.05 * abs(own).max()
    assert numpy.corrcoef(own.ravel(), theirs.ravel())[0, 1] > 0.9999


SUITE = """
name: small
question: do two libraries agree on one technique?
data: source
model: embedded
precision: bf16
tasks: perplexity(windows=16)
method:
  - base
  - awq(group_size=64, calibration_windows=8)
  - auto_awq(group_size=64, calibration_windows=8)
  - auto_awq(group_size=64, calibration_windows=8, corrected=false)
  - lora > auto_awq
baseline: base
budget: {steps: 2}
"""


@pytest.mark.slow
def test_autoawq_agrees_with_the_maintained_library_once_it_is_corrected(needs, run_suite):
    needs("auto_awq")
    found = run_suite(SUITE)
    assert found["code"] == 0, found["output"]
    task = "perplexity(windows=16)"
    scored = {key[0]: one["metrics"].get("kl_divergence") for key, one in found.items() if key[1:] == (task,)}
    kept, archived, released = (
        next(value for name, value in scored.items() if name.startswith(start) and ("corrected" in name) is wrong)
        for start, wrong in (("awq", False), ("auto_awq", False), ("auto_awq", True))
    )
    assert archived == pytest.approx(kept, rel=0.2) and released > 10 * archived
    (made,) = (one for key, one in found.items() if "corrected" in str(key[0]) and key[1:] == ("compress",))
    assert any("damages the model" in flag for flag in made["flags"])
    assert made["environment"]["soft"]["libraries"]["transformers"] == "4.51.3"
    assert "cannot start from adapters that are not merged" in found["lora > auto_awq", "compress"]["reason"]
