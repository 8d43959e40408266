"""``gptq`` and ``awq``: what gptqmodel stores is what it computes with, a clever rounding beats a plain one, and bad
input is one line. Importing gptqmodel changes a process, so that everything runs in a process of its environment."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from harness import environments

TESTS = Path(__file__).parents[1]
INSIDE = Path(__file__).parent / "inside_gptq.py"

pytestmark = pytest.mark.usefixtures("environment")


@pytest.fixture(scope="module")
def environment(needs):
    needs("gptq")


@pytest.fixture(scope="module")
def inside(environment, tmp_path_factory):
    """What ``inside_gptq.py`` found, by name: run once, in the environment's own interpreter."""
    out = tmp_path_factory.mktemp("gptq") / "found.json"
    variables = environments.variables("gptq", threads=2)
    command = [environments.python("gptq"), str(INSIDE), str(out)]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=TESTS, env={**_clean(), **variables, "OMP_NUM_THREADS": "2"}
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(out.read_text())


def _clean():
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}


@pytest.mark.parametrize("name", ["gptq_4", "gptq_3", "gptq_act", "awq_4"])
def test_a_layer_computes_with_the_weights_that_are_stored(inside, name):
    """Codes, zero points and scales unpacked by hand from the file, and what the opened layer makes of one vector."""
    assert inside[name]["difference"] < 2e-3 * inside[name]["largest"]
    assert inside[name]["codes"] <= 2 ** inside[name]["bits"]


@pytest.mark.parametrize("name", ["gptq_4", "gptq_3"])
def test_gptq_beats_rounding_to_nearest_on_what_it_was_calibrated_on(inside, name):
    """At the same bits, groups and grid: less than 0.7 of the loss that rounding adds there."""
    found = inside[name]
    assert found["loss"] < found["loss_rtn"] and found["loss"] - found["plain_loss"] < 0.7 * (
        found["loss_rtn"] - found["plain_loss"]
    )


def test_awq_is_nearer_than_rounding_and_its_scales_cancel(inside):
    """Norms and layers are scaled inversely: without rounding nothing would have changed."""
    found = inside["awq_4"]
    assert found["loss"] < found["loss_rtn"]
    assert found["norms_changed"] > 0.2 > 4 * found["unscaled_difference"]


@pytest.mark.parametrize("name", ["gptq_4", "gptq_3", "gptq_act", "awq_4"])
def test_every_layer_is_what_the_name_says(inside, name):
    method, bits = name.split("_")[0], inside[name]["bits"]
    described = inside[name]["described"]
    assert described["quantized_layers"] == {f"{method} int{bits}": 28}
    assert described["parameters"] == 2_885_888
    assert described["left"] == {
        "model.embed_tokens": "an embedding: looked up, not multiplied", "lm_head": "shares the embeddings' weights"
    }  # fmt: skip


def test_bits_are_counted_to_the_byte(inside):
    """28 layers of 2 359 296 weights in groups of 64: codes, 16-bit scales, packed zero points."""
    weights = 2_359_296
    for name, bits in (("gptq_4", 4), ("gptq_3", 3)):
        stored = inside[name]["stored"]
        assert stored["qweight"] == weights * bits // 8
        assert stored["scales"] == weights // 64 * 2
        assert stored["embed_tokens.weight"] == 2048 * 256 * 2, "what is not quantised is stored in 16 bits"


def test_bad_input_is_one_line(inside):
    assert inside["errors"] == {
        "group": "group_size 96 does not divide the 256 inputs of model.layers.0.self_attn.q_proj",
        "again": "gptq int4 weights are quantised already: gptq needs the plain ones",
        "short": "gptqmodel uses no calibration window of 10 tokens or fewer: take longer ones",
        "gpt2": "gptq quantises linear layers, and a gpt2 has none (GPT-2's are of another class)",
        "few": "the calibration asks for 100000 windows of 64 tokens, view 'text' of 'tiny' has {}: lower "
        "calibration_windows or calibration_length".format(inside["errors"]["few"].split(" has ")[1].split(":")[0]),
        "unknown": "gptqmodel does not know ctrl models: gptq works on those that it lists, llama among them",
    }


def test_a_server_that_preloads_for_it_has_not_imported_it():
    """gptqmodel starts threads when it is imported: a worker forked afterwards would wait for them for ever."""
    preload = environments.definition("gptq").preload
    code = f"import importlib, sys\nfor name in {list(preload)!r}: importlib.import_module(name)\n"
    code += "print([name for name in ('gptqmodel', 'logbar', 'tokenicer') if name in sys.modules])"
    done = subprocess.run([environments.python("gptq"), "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


SUITE = """
name: small
question: do calibrated methods run in their environment, after training too?
data: source
model: embedded
baseline: base
tasks: perplexity(windows=4)
sweeps:
  - {method: [base, "rtn(bits=3, group_size=64)", "gptq(bits=3, group_size=64, calibration_windows=16)"]}
  - method: "lora > gptq(group_size=64, calibration_windows=8, calibration_view=instructions)"
    budget: {steps: 2, batch_size: 2, evaluations: 1}
"""


@pytest.mark.slow
def test_a_suite_runs_it_beside_the_others(run_suite):
    found = run_suite(SUITE)
    assert found["code"] == 0, found["output"]
    methods = [key[0] for key in found if isinstance(key, tuple) and key[1] == "perplexity(windows=4)"]
    assert found["left"] == ["results", "small.yaml"], "gptqmodel's logs lie where the user stands"
    starts = ("gptq", "rtn", "lora >")
    gptq, plain, chain = (next(name for name in methods if name.startswith(start)) for start in starts)
    assert found[gptq, "compress"]["environment"]["soft"]["environment"] == "gptq"
    assert found[gptq, "compress"]["metrics"]["calibration_tokens"] == 16 * 256
    divergence = {name: found[name, "perplexity(windows=4)"]["metrics"]["kl_divergence"] for name in (gptq, plain)}
    assert divergence[gptq] < divergence[plain]
    assert found[chain, "compress"]["observed"]["calibration"]["view"] == "instructions"
    assert found[chain, "perplexity(windows=4)"]["observed"]["scorer"]["quantized_layers"] == {"gptq int4": 28}
