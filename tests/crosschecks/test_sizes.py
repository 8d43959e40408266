"""Bytes of quantised layers and files: by hand, by transformers' own count, and by the gguf package's own command."""

from __future__ import annotations

import json
import subprocess

import pytest
from crosschecks.trainings import by_suite

from harness import environments
from harness.catalogue import adapter_class
from harness.contract import Hardware
from harness.memory.held import Held
from harness.memory.prediction import predict_opened
from harness.models.loading import load_model

# The tiny Llama: 2 layers of 64, 4 heads of which 2 have keys and values, 128 inside, 300 entries.
MATRICES = [(64, 64), (32, 64), (32, 64), (64, 64), (128, 64), (128, 64), (64, 128)] * 2  # outputs, inputs
WEIGHTS, ROWS = sum(rows * columns for rows, columns in MATRICES), sum(rows for rows, _ in MATRICES)
REST = 300 * 64 + 5 * 64  # embeddings, which the head shares, and norms
CODES = 16  # entries of the table of a 4-bit type, in 32 bits


def layer_bytes(module):
    """Bytes of a layer's codes, and of what scales them."""
    weight = module.weight
    state = getattr(weight, "quant_state", None)
    if state is None:
        scales = [weight.SCB if weight.SCB is not None else module.state.SCB]
    else:
        scales = [state.absmax, *([state.state2.absmax, state.state2.code, state.offset] if state.nested else [])]
    return weight.nbytes, sum(one.nbytes for one in scales)


def test_int8_has_a_byte_for_a_weight_and_four_for_a_row(run, llama):
    pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed")
    model = load_model(run("int8", llama).checkpoint, "fp32", Hardware())
    sizes = [layer_bytes(one) for one in model.modules() if type(one).__name__ == "Linear8bitLt"]
    assert [codes for codes, _ in sizes] == [rows * columns for rows, columns in MATRICES]
    assert [scales for _, scales in sizes] == [4 * rows for rows, _ in MATRICES]
    rotation = sum(buffer.nbytes for name, buffer in model.named_buffers() if "inv_freq" in name)
    assert model.get_memory_footprint() == WEIGHTS + 4 * REST + rotation


@pytest.mark.parametrize(("kind", "double"), [("nf4", False), ("fp4", False), ("nf4", True)])
def test_4_bits_have_half_a_byte_for_a_weight_and_a_scale_for_64(run, llama, kind, double):
    pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed")
    ran = run("int4", llama, quant_type=kind, double_quant=double)
    sizes = [layer_bytes(one) for one in load_model(ran.checkpoint, "fp32", Hardware()).modules()
             if type(one).__name__ == "Linear4bit"]  # fmt: skip
    assert [codes for codes, _ in sizes] == [rows * columns // 2 for rows, columns in MATRICES]
    for (rows, columns), (_, scales) in zip(MATRICES, sizes, strict=True):
        blocks = rows * columns // 64
        # Doubled: a byte for each scale, four for 256 of them, and one table of 256 values with an offset.
        assert scales == (blocks + 4 * -(-blocks // 256) + 4 * 256 + 4 if double else 4 * blocks)


@pytest.mark.parametrize(("technique", "params"), [("base", {}), ("int8", {}), ("int4", {})])
def test_predicted_weights_are_what_transformers_counts(run, llama, technique, params):
    """transformers counts parameters and buffers alone: what scales codes lies beside them."""
    pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed")
    checkpoint = llama if technique == "base" else run(technique, llama, **params).checkpoint
    model = load_model(checkpoint, "fp32", Hardware())
    config = json.loads((llama.parts["model"] / "config.json").read_text())
    held = Held.of(config)
    if technique != "base":
        kind = adapter_class(technique)
        held = kind(kind.Params()).holds(held)
    predicted = predict_opened(held, "fp32", 1, 1).parts["weights"]
    beside = {"int8": 4 * ROWS, "int4": 4 * WEIGHTS // 64}.get(technique, 0)
    assert predicted == pytest.approx(model.get_memory_footprint() + beside, rel=1e-3)


BLOCKS = {"F16": (1, 2), "Q8_0": (32, 34), "Q4_0": (32, 18)}
# The embedded model: 4 layers of 256, of 4 heads 2 have keys and values, 512 inside, 2048 entries.
EMBEDDED_MATRICES = 4 * (256 * 256 + 2 * 128 * 256 + 256 * 256 + 3 * 256 * 512) + 2048 * 256
EMBEDDED_NORMS = 9 * 256


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["F16", "Q8_0"])
def test_a_gguf_file_is_what_its_own_package_says(kind, tmp_path):
    """``gguf-dump`` reads it in a process of its own; blocks of 32 take 32 codes and a scale of 16 bits."""
    if reason := environments.lacking("gguf"):
        pytest.skip(reason)
    (record,) = by_suite(tmp_path / "suite", f"gguf(type={kind})", "nothing", "compress")
    (file,) = tmp_path.glob("suite/results/.cache/checkpoints/*/model/*.gguf")
    python = environments.folder("gguf") / "bin" / "python"
    command = [str(python), "-m", "gguf.scripts.gguf_dump", "--json", str(file)]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)["tensors"].values()
    assert sum(_elements(one) for one in found if one["type"] == kind) == EMBEDDED_MATRICES
    assert sum(_elements(one) for one in found if one["type"] == "F32") == EMBEDDED_NORMS
    values, size = BLOCKS[kind]
    expected = EMBEDDED_MATRICES // values * size + 4 * EMBEDDED_NORMS
    assert record["metrics"]["weight_bytes"] == expected
    assert 0 < file.stat().st_size - expected < 200_000, "the rest is the tokenizer"


def _elements(tensor):
    count = 1
    for size in tensor["shape"]:
        count *= size
    return count
