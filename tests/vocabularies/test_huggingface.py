"""The tokenizers library behind the ``Codec`` contract, counted by hand."""

from __future__ import annotations

import subprocess
import sys

import pytest

from harness.errors import ModelError
from harness.vocabularies.huggingface import TokenizersCodec

SPECIAL = 2


@pytest.fixture(scope="module")
def codec(by_hand):
    return TokenizersCodec(by_hand)


def test_it_cuts_as_the_merges_say(codec):
    pieces = [codec.piece(token) for token in codec.encode("abab ab b\n")]
    assert pieces == [b"abab", b" ab", b" ", b"b", b"\n"]
    assert codec.encode_batch(["abab", "é"]) == [codec.encode("abab"), codec.encode("é")]
    assert [codec.piece(token) for token in codec.encode("é")] == [b"\xc3", b"\xa9"]
    assert codec.decode_batch(codec.encode_batch(["abab ab b\n", "é"])) == ["abab ab b\n", "é"]


def test_a_special_token_in_a_text_is_text(codec):
    text = "<|endoftext|>"
    assert len(codec.encode(text)) == len(text) and codec.decode(codec.encode(text)) == text
    assert codec.piece(0) is None and codec.piece(1) is None


def test_what_it_says_of_itself(codec):
    assert codec.vocabulary_size == SPECIAL + 256 + 3
    assert codec.unknown_id is None and codec.byte_ids == frozenset()
    assert codec.describe() == {
        "library": "tokenizers", "model": "BPE", "vocabulary": 261, "normalizer": None, "pre_tokenizer": "ByteLevel",
        "decoder": "ByteLevel",
    }  # fmt: skip


def test_a_folder_without_a_tokenizer_is_one_clear_line(tmp_path):
    with pytest.raises(ModelError, match=r"has neither tokenizer.json nor vocab.json with merges.txt"):
        TokenizersCodec(tmp_path)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_batch_runs_on_as_many_threads_as_are_asked_for(by_hand, threads):
    code = f"""
import os
from pathlib import Path
from harness.vocabularies.huggingface import TokenizersCodec
codec = TokenizersCodec(Path({str(by_hand)!r}))
codec.use_threads({threads})
before = len(os.listdir("/proc/self/task"))
codec.encode_batch(["abab " * 1000] * 64)
print(len(os.listdir("/proc/self/task")) - before)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(ran.stdout) == (0 if threads == 1 else threads)
