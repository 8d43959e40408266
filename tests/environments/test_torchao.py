"""``torchao``: the integers are those that the formula gives, after saving and opening."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from harness import environments


@pytest.fixture(scope="module")
def inside(needs, tmp_path_factory):
    needs("torchao")
    out = tmp_path_factory.mktemp("torchao") / "found.json"
    command = [environments.python("torchao"), str(Path(__file__).parent / "inside_torchao.py"), str(out)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "2"})
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(out.read_text())


@pytest.mark.parametrize("case", ["8_None", "8_64", "4_64", "3_64"])
def test_a_layer_computes_with_the_integers_of_the_formula(inside, case):
    """Scales are stored in 16 bits, which moves a weight by a part of its step and a few over to the next code."""
    found, bits = inside[case], int(case[0])
    assert found["off_the_grid"] < 0.01 and found["difference"] < 0.1 * found["away"] + 4e-3
    assert found["described"]["quantized_layers"] == {f"torchao int{bits}": 28}
    assert found["described"]["parameters"] == 2_885_888


def test_a_code_takes_a_byte_whatever_its_bits(inside):
    assert inside["4_64"]["bytes"] == pytest.approx(inside["3_64"]["bytes"], rel=0.001)
    assert inside["4_64"]["bytes"] > 2_359_296 + 2 * 2048 * 256
    assert inside["8_64"]["away"] < inside["4_64"]["away"] / 8 < inside["3_64"]["away"] / 8


def test_a_group_that_does_not_divide_the_inputs_is_refused(inside):
    """torchao's own formats raise or skip the layer in silence."""
    assert inside["error"] == "group_size 48 does not divide the 512 inputs of model.layers.0.mlp.down_proj"
