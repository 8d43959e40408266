"""Examples: a loss on answers only, whole blocks of text, and the bytes that scored tokens stand for."""

from __future__ import annotations

import pytest

from harness.errors import DataError
from harness.models.loading import load_tokenizer
from harness.models.scoring import token_bytes
from harness.training.examples import (
    IGNORED,
    answers_to_score,
    instruction_examples,
    packed_text,
    text_to_score,
    tokenize,
)


@pytest.fixture(scope="module")
def tokenizer(tokenizer_run):
    return load_tokenizer(tokenizer_run.checkpoint)


def test_only_the_answer_and_its_end_carry_a_loss(tokenizer, tiny_data):
    items = tiny_data.view("instructions", "train")
    examples = instruction_examples(tiny_data, tokenizer, 128)
    assert len(examples) == len(items)
    for item, example in zip(items, examples, strict=True):
        ids, labels = example["input_ids"], example["labels"]
        prompt = tokenize(tokenizer, [item["prompt"]])[0]
        assert labels[: len(prompt)] == [IGNORED] * len(prompt)
        assert labels[len(prompt) :] == ids[len(prompt) :]
        assert tokenizer.decode(ids) == item["prompt"] + item["answer"] + tokenizer.eos_token


def test_long_instructions_are_cut_and_those_without_an_answer_left_out(tokenizer, tiny_data):
    prompts = [len(ids) for ids in tokenize(tokenizer, [x["prompt"] for x in tiny_data.view("instructions", "train")])]
    length = sorted(prompts)[len(prompts) // 2]
    examples = instruction_examples(tiny_data, tokenizer, length)
    assert 0 < len(examples) == sum(size < length for size in prompts) < len(prompts)
    assert all(len(example["input_ids"]) == len(example["labels"]) <= length for example in examples)
    assert all(any(label != IGNORED for label in example["labels"]) for example in examples)


def test_instructions_that_never_fit_are_one_clear_line(tokenizer, tiny_data):
    with pytest.raises(DataError, match="no item of view 'instructions' in 'tiny' fits 2 tokens"):
        instruction_examples(tiny_data, tokenizer, 2)


def test_token_ids_are_those_of_calling_the_tokenizer(tokenizer, tiny_data):
    texts = [*tiny_data.view("text", "train"), "", "<|endoftext|> in a text", "\u00e9\u0301 \U0001f600"]
    tokenizer.backend_tokenizer.enable_truncation(4)  # as a tokenizer.json may say
    assert tokenize(tokenizer, texts) == tokenizer(texts, add_special_tokens=False)["input_ids"]


def test_packed_text_is_the_text(tokenizer, tiny_data):
    packed = packed_text(tiny_data, tokenizer, 50, loss_across_documents=True)
    blocks = packed.examples
    assert {len(block["input_ids"]) for block in blocks} == {50}
    text = tokenizer.decode([token for block in blocks for token in block["input_ids"]])
    whole = "".join(item + tokenizer.eos_token for item in tiny_data.view("text", "train"))
    assert whole.startswith(text) and len(whole) - len(text) < 50 * 20
    assert all(block["labels"] == block["input_ids"] for block in blocks)
    texts = tiny_data.view("text", "train")
    counted = sum(len(tokenizer(text)["input_ids"]) + 1 for text in texts)
    assert packed.bytes_per_token == sum(len(text.encode()) for text in texts) / counted


def test_no_loss_across_the_border_of_two_documents(tokenizer, tiny_data):
    blocks = packed_text(tiny_data, tokenizer, 50).examples
    ids, labels = ([token for block in blocks for token in block[name]] for name in ("input_ids", "labels"))
    starts = {0} | {at + 1 for at, token in enumerate(ids[:-1]) if token == tokenizer.eos_token_id}
    assert len(starts) > 2
    assert [at for at, label in enumerate(labels) if label == IGNORED] == sorted(starts)
    assert all(label == token for label, token in zip(labels, ids, strict=True) if label != IGNORED)


def test_windows_count_the_bytes_of_what_they_score(tokenizer, tiny_data):
    lengths = token_bytes(tokenizer)
    windows = text_to_score(tiny_data, "test", tokenizer, lengths, 64, 1000, None)
    for window in windows:
        assert window.counted == [True] * (len(window.ids) - 1)
        assert window.bytes == len(tokenizer.decode(window.ids[1:]).encode())
    assert len(text_to_score(tiny_data, "test", tokenizer, lengths, 64, 3, None)) == 3


def test_answers_count_alone(tokenizer, tiny_data):
    items = tiny_data.view("instructions", "test")
    found = answers_to_score(items, tokenizer, token_bytes(tokenizer), 128, 5)
    assert len(found) == 5
    for item, scored in zip(items, found, strict=False):
        assert scored.bytes == len(item["answer"].encode())
        counted = [token for token, counts in zip(scored.ids[1:], scored.counted, strict=True) if counts]
        assert tokenizer.decode(counted) == item["answer"] + tokenizer.eos_token
