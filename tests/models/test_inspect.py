"""What is really there, against counts by hand and against the files."""

from __future__ import annotations

import torch

from harness.contract import Checkpoint
from harness.models.inspect import (
    checkpoint_bytes,
    describe_model,
    inspect_checkpoint,
    safetensors_header,
    trainable_names,
    weight_bytes,
)

# Embedding (tied with the head), 2 layers of attention, feed-forward and two norms, and the last norm.
PARAMETERS = 300 * 64 + 2 * (64 * 64 + 2 * 32 * 64 + 64 * 64 + 3 * 64 * 128 + 2 * 64) + 64


def test_a_plain_model_by_hand(llama, open_live):
    found = describe_model(open_live(llama))
    assert found["parameters"] == PARAMETERS
    assert found["dtypes"] == {"float32": PARAMETERS}
    assert found["layer_classes"] == {"Embedding": 1, "Linear": 15, "LlamaRMSNorm": 5}
    assert found["quantized_layers"] == {} and found["attention"]


def test_trainable_names_follow_the_gradients(llama, open_live):
    model = open_live(llama)
    model.requires_grad_(False)
    assert trainable_names(model) == []
    model.model.norm.weight.requires_grad_(True)
    assert trainable_names(model) == ["model.norm.weight"]


def test_the_files_by_hand(llama):
    facts = inspect_checkpoint(llama)
    assert facts["stored_bytes_by_dtype"] == {"F32": 4 * PARAMETERS}
    assert set(facts["parts"]) == {"model", "tokenizer"}
    assert 4 * PARAMETERS < weight_bytes(llama) < 4 * PARAMETERS + 5000
    every_file = [file for path in llama.parts.values() for file in path.rglob("*") if file.is_file()]
    assert checkpoint_bytes(llama) == sum(file.stat().st_size for file in every_file)


def test_a_folder_that_is_model_and_tokenizer_counts_once(llama, tmp_path):
    for path in llama.parts.values():
        for file in path.iterdir():
            (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "README.md").write_text("x" * 1000)
    both = Checkpoint("causal", {"model": tmp_path, "tokenizer": tmp_path})
    assert checkpoint_bytes(both) == checkpoint_bytes(llama)


def test_adapters_count_as_weights(run, llama):
    made = run("lora", llama, rank=2, job={"steps": 1}).checkpoint
    added = 4 * 2 * 2 * (128 + 96)
    assert added < weight_bytes(made) - weight_bytes(llama) < added + 3000
    assert checkpoint_bytes(made) > checkpoint_bytes(llama) + added


def test_hashes_change_with_the_weights(run, llama):
    before = inspect_checkpoint(llama)["parts"]
    after = inspect_checkpoint(run("full_finetune", llama, job={"steps": 2}).checkpoint)["parts"]
    assert before["model"]["sha256"] != after["model"]["sha256"]
    assert before["tokenizer"] == after["tokenizer"]


def test_a_header_is_read_without_a_library(tmp_path):
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(3, 5, dtype=torch.bfloat16)}, tmp_path / "x.safetensors", metadata={"format": "pt"})
    header = safetensors_header(tmp_path / "x.safetensors")
    assert header == {"a": {"dtype": "BF16", "shape": [3, 5], "data_offsets": [0, 30]}}
