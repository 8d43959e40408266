"""What published models bring along: generation settings, tokenizers without padding, weights in two formats."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.contract import Checkpoint
from harness.models.checkpoint import weight_files
from harness.models.completion import complete
from harness.models.loading import load_tokenizer

PROMPTS = [[7, 8, 9], [5], [11, 12, 13, 14, 15, 16, 17], [21, 22]]


@pytest.fixture(params=["llama", "gpt2", "t5", "bart"])
def model(request: pytest.FixtureRequest, open_live: Callable[..., Any]) -> Any:
    return open_live(request.getfixturevalue(request.param))


def test_prompts_of_unequal_length_are_gone_on_with_as_if_alone(model: Any) -> None:
    together = complete(model, PROMPTS, 6, "fp32", None)
    assert together == [complete(model, [prompt], 6, "fp32", None)[0] for prompt in PROMPTS]


def test_generation_is_greedy_whatever_a_model_asks_for(model: Any) -> None:
    plain = complete(model, PROMPTS, 6, "fp32", None)
    asked = {"do_sample": True, "temperature": 5.0, "top_k": 3, "top_p": 0.5, "repetition_penalty": 3.0,
             "no_repeat_ngram_size": 1, "num_beams": 4, "min_length": 30, "length_penalty": 2.0}  # fmt: skip
    for name, value in asked.items():
        setattr(model.generation_config, name, value)
    assert complete(model, PROMPTS, 6, "fp32", None) == plain


@pytest.mark.parametrize("special", [{"eos_token": "<|endoftext|>"}, {"unk_token": "<|unk|>"}, {}])
def test_a_tokenizer_without_padding_gets_some(special: dict[str, str], by_hand: Path, tmp_path: Path) -> None:
    from transformers import PreTrainedTokenizerFast

    PreTrainedTokenizerFast(tokenizer_file=str(by_hand / "tokenizer.json"), **special).save_pretrained(tmp_path)
    tokenizer = load_tokenizer(Checkpoint(kind="tokenizer", parts={"tokenizer": tmp_path}))
    batch = tokenizer(["ab", "ab ab ab ab"], padding=True)
    assert len(set(map(len, batch["input_ids"]))) == 1 and batch["attention_mask"][0][-1] == 0
    tokenizer.padding_side = "left"
    assert tokenizer(["ab", "ab ab ab ab"], padding=True)["attention_mask"][0][0] == 0


def test_pickled_weights_beside_safetensors_do_not_count(llama: Checkpoint, tmp_path: Path) -> None:
    folder = tmp_path / "both"
    shutil.copytree(llama.parts["model"], folder)
    before = weight_files(folder)
    (folder / "pytorch_model.bin").write_bytes(b"not read")
    assert weight_files(folder) == before != []
    before[0].unlink()
    assert [file.name for file in weight_files(folder)] == ["pytorch_model.bin"]
