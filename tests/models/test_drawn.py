"""Random weights that are drawn where they are used: the same for a seed, in every storage, never all at once."""

from __future__ import annotations

import subprocess
import sys

import pytest

from harness.contract import Checkpoint, Hardware
from harness.errors import StepError
from harness.models import drawn
from harness.models.architectures import auto_class, configuration, kind_of_configuration
from harness.models.inspect import inspect_checkpoint, shipped_bytes, weight_bytes
from harness.models.loading import load_model
from harness.models.sources import open_model
from harness.plan.sources import model_source

CPU = Hardware("cpu")
TINY = "(hidden_size=64, intermediate_size=128, layers=2, vocab_size=96)"
# As their authors or their published checkpoints count them, tied weights once.
PARAMETERS = {
    "gpt2": 124_439_808, "distilgpt2": 81_912_576, "bert-base": 109_514_298, "distilbert-base": 66_985_530,
    "t5-small": 60_506_624, "llama-3-8b": 8_030_261_248, "llama-3-70b": 70_553_706_496,
}  # fmt: skip


@pytest.fixture
def opened(tmp_path, monkeypatch):
    """Open a word for a random model so that its weights are drawn, however small it is."""
    monkeypatch.setattr(drawn, "LARGEST_FILE_BYTES", 0)

    def open_word(word: str) -> Checkpoint:
        return open_model(model_source(word, {}, tmp_path).spec, cache=tmp_path)

    return open_word


@pytest.mark.parametrize("name", sorted(PARAMETERS))
def test_a_published_shape_has_the_parameters_of_the_model(name, tmp_path):
    config = configuration(model_source(f"random:{name}", {}, tmp_path).spec)
    model = drawn.skeleton(auto_class(kind_of_configuration(config.to_dict())), config)
    assert sum(one.numel() for one in model.parameters()) == PARAMETERS[name]


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "bert", "t5", "bart"])
def test_every_architecture_is_drawn_and_computes(architecture, opened):
    import torch

    model = load_model(opened(f"random:{architecture}{TINY}"), "fp32", CPU)
    ids = torch.arange(8)[None]
    inputs = {"input_ids": ids, "decoder_input_ids": ids} if model.config.is_encoder_decoder else {"input_ids": ids}
    with torch.no_grad():
        logits = model(**inputs).logits
    assert not model.training and logits.isfinite().all() and logits.std() > 0.01
    assert all(one.device.type == "cpu" and one.dtype == torch.float32 for one in model.parameters())


def test_a_seed_decides_the_weights_and_the_storage_only_their_type(opened):
    import torch

    first = load_model(opened(f"random:llama{TINY}"), "fp32", CPU)
    halved = load_model(opened(f"random:llama{TINY}"), "bf16", CPU)
    other = load_model(opened(f"random:llama{TINY[:-1]}, seed=1)"), "fp32", CPU)
    for (name, one), same, different in zip(
        first.named_parameters(), halved.parameters(), other.parameters(), strict=True
    ):
        assert same.dtype == torch.bfloat16 and torch.equal(one, same.float())
        assert torch.equal(one, different) == ("norm" in name)
    matrix = first.model.layers[0].mlp.up_proj.weight
    assert abs(matrix.std() / 0.02 - 1) < 0.05 and matrix.mean().abs() < 0.002


def test_drawing_leaves_the_training_s_random_numbers_alone(opened):
    import torch

    checkpoint = opened(f"random:llama{TINY}")
    torch.manual_seed(5)
    before = torch.rand(1)
    torch.manual_seed(5)
    load_model(checkpoint, "fp32", CPU)
    assert torch.equal(torch.rand(1), before)


def test_it_counts_as_what_its_weights_take_in_16_bits(opened):
    checkpoint = opened(f"random:llama{TINY}")
    parameters = sum(one.numel() for one in load_model(checkpoint, "bf16", CPU).parameters())
    assert weight_bytes(checkpoint) == 2 * parameters
    assert 0 < shipped_bytes(checkpoint, "model") - 2 * parameters < 5000  # the configuration
    assert inspect_checkpoint(checkpoint)["stored_bytes_by_dtype"] == {"BF16": 2 * parameters}


def test_what_reads_files_says_that_there_are_none(opened, tmp_path):
    from types import SimpleNamespace

    from harness.models.archived import folder_of_that_time

    job = SimpleNamespace(checkpoint=opened(f"random:llama{TINY}"))
    with pytest.raises(StepError, match="auto_gptq reads weights from files"):
        folder_of_that_time(job, tmp_path, "auto_gptq", None)


def test_small_models_are_written_as_before(tmp_path):
    checkpoint = open_model(model_source(f"random:llama{TINY}", {}, tmp_path).spec, cache=tmp_path)
    assert (checkpoint.parts["model"] / "model.safetensors").is_file()
    assert not drawn.is_drawn(checkpoint.parts["model"])


_RISE = """
import ctypes, sys
from pathlib import Path
from harness.contract import Checkpoint, Hardware
from harness.models import drawn
from harness.models.loading import load_model
from harness.models.sources import open_model
from harness.plan.sources import model_source
drawn.LARGEST_FILE_BYTES = 0
for option in (-3, -1):  # what is freed goes back to the system at once, so that the peak is what was in use
    ctypes.CDLL("libc.so.6").mallopt(option, 65536)
def opened(layers):
    word = f"random:llama(hidden_size=512, intermediate_size=2048, layers={layers}, vocab_size=256)"
    checkpoint = open_model(model_source(word, {}, Path()).spec, cache=Path(sys.argv[1]))
    from harness.models.quantization import four_bit
    return load_model(checkpoint, "bf16", Hardware("cpu"), quantization=four_bit("nf4", False, "bf16").config())
def peak():
    return next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("VmHWM"))
opened(1)  # libraries and pools
Path("/proc/self/clear_refs").write_text("5")
before = peak()
model = opened(32)
print(peak() - before, model.model.layers[0].mlp.up_proj.weight.dtype)
"""


@pytest.mark.slow
def test_four_bit_weights_come_layer_by_layer(tmp_path):
    """A model of 32 layers never lies in memory in 16 bits: 126 million weights rise by far less than 252 MB."""
    done = subprocess.run(
        [sys.executable, "-c", _RISE, str(tmp_path)], capture_output=True, text=True, check=True, timeout=300
    )
    rise, dtype = done.stdout.split()
    assert dtype == "torch.uint8"
    matrices = 32 * (512 * (512 + 256 + 256 + 512) + 3 * 512 * 2048)
    assert 0.5 * matrices <= int(rise) < 0.85 * matrices  # half a byte each, and scales; 16 bits would be 2.0
