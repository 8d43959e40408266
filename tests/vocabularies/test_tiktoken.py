"""tiktoken behind the ``Codec`` contract: the same ids as the tokenizers library on the same vocabulary."""

from __future__ import annotations

import base64
import hashlib
import inspect
import json
import re
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.contract import Checkpoint
from harness.errors import ModelError, StepError
from harness.vocabularies.huggingface import TokenizersCodec
from harness.vocabularies.learning import END
from harness.vocabularies.tiktoken import TiktokenCodec, split_of_token, vocabulary_named, vocabulary_of, write

SHARED = Path(__file__).parents[3] / "shared" / "data" / "gpt2-tokenizer"
CODE = st.text(alphabet="abAB \n\t_()'s01.é<|>", max_size=80)


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory):
    """GPT-2's own vocabulary and merges under the names that transformers gives them."""
    if not SHARED.is_dir():
        pytest.skip("shared/data/gpt2-tokenizer beside the checkout is not here")
    folder = tmp_path_factory.mktemp("gpt2")
    for name in ("vocab.json", "merges.txt"):
        shutil.copy(SHARED / f"gpt2_{name}", folder / name)
    return folder


@pytest.fixture(scope="module")
def written(by_hand, tmp_path_factory):
    folder = tmp_path_factory.mktemp("written")
    write(vocabulary_of(by_hand), folder)
    return folder


def test_ids_by_hand(by_hand):
    codec = TiktokenCodec(by_hand)
    assert [codec.piece(token) for token in codec.encode("abab ab b\n")] == [b"abab", b" ab", b" ", b"b", b"\n"]
    assert codec.vocabulary_size == 261 and codec.piece(0) is None
    codec.use_threads(2)
    assert codec.encode_batch(["ab", "é"]) == [codec.encode("ab"), codec.encode("é")]
    assert codec.decode_batch([codec.encode("ab"), codec.encode("é")]) == ["ab", "é"]


@settings(max_examples=300, deadline=None)
@given(text=st.one_of(st.text(), CODE))
def test_the_same_ids_as_the_tokenizers_library(tokenizer_run, text):
    folder = tokenizer_run.checkpoint.parts["tokenizer"]
    ids = _codec(TiktokenCodec, folder).encode(text)
    assert ids == _codec(TokenizersCodec, folder).encode(text)
    assert _codec(TiktokenCodec, folder).decode(ids) == text


@settings(max_examples=200, deadline=None)
@given(text=st.one_of(st.text(), CODE))
def test_the_same_ids_with_the_vocabulary_of_gpt2(gpt2, text):
    ids = _codec(TiktokenCodec, gpt2).encode(text)
    assert ids == _codec(TokenizersCodec, gpt2).encode(text)
    assert _codec(TiktokenCodec, gpt2).decode(ids) == text


def test_gpt2_gives_its_published_ids(gpt2):
    assert TiktokenCodec(gpt2).encode("hello world") == [31373, 995]
    assert TiktokenCodec(gpt2).vocabulary_size == 50257


@settings(max_examples=100, deadline=None)
@given(text=st.one_of(st.text(), CODE))
def test_what_is_written_reads_back_in_all_three_libraries(written, by_hand, text):
    ids = _codec(TiktokenCodec, by_hand).encode(text)
    assert _codec(TiktokenCodec, written).encode(text) == ids
    assert _codec(TokenizersCodec, written).encode(text) == ids


def test_transformers_opens_what_is_written(written, by_hand):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(written, local_files_only=True)
    assert tokenizer("abab é", add_special_tokens=False)["input_ids"] == TiktokenCodec(by_hand).encode("abab é")
    assert tokenizer.eos_token == END and tokenizer.pad_token_id == 1


def test_a_file_of_the_users_own(by_hand, tmp_path):
    shutil.copy(_written(by_hand, tmp_path / "made") / "encoding.tiktoken", tmp_path / "my.tiktoken")
    assert TiktokenCodec(tmp_path).encode("abab") == TiktokenCodec(by_hand).encode("abab")
    (tmp_path / "my.tiktoken").write_text("YQ== 0\nnonsense\n")
    with pytest.raises(ModelError, match=r"my.tiktoken:2: not a token in base64 and its rank"):
        TiktokenCodec(tmp_path)
    (tmp_path / "my.tiktoken").write_bytes(base64.b64encode(b"a") + b" 0\n")
    with pytest.raises(StepError, match=r"needs all 256 bytes in the vocabulary; my.tiktoken lacks 255"):
        TiktokenCodec(tmp_path)


def test_an_encoding_by_name_where_its_file_is_at_hand(gpt2, tmp_path, monkeypatch):
    """tiktoken finds its files in a folder, each under the SHA-1 of where it comes from."""
    from tiktoken_ext import openai_public

    merges = b"#version: 0.2\n" + (gpt2 / "merges.txt").read_bytes()  # the published file, whose hash is checked
    for content, end in ((merges, "vocab.bpe"), ((gpt2 / "vocab.json").read_bytes(), "encoder.json")):
        source = re.search(rf'"([^"]+/{end})"', inspect.getsource(openai_public.gpt2))
        assert source
        (tmp_path / hashlib.sha1(source[1].encode()).hexdigest()).write_bytes(content)
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    found = vocabulary_named("gpt2")
    assert found.ranks == {token: rank for token, rank in vocabulary_of(gpt2).ranks.items() if token != END.encode()}
    assert found.special == {END: 50256}


def test_an_encoding_that_is_not_at_hand_is_one_clear_line(tmp_path, monkeypatch):
    from tiktoken import load

    def no_network(path):
        raise ConnectionError("no network")

    monkeypatch.setattr(load, "read_file", no_network)
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    with pytest.raises(ModelError, match=r"'o200k_base' is not at hand .*: set TIKTOKEN_CACHE_DIR to a folder"):
        vocabulary_named("o200k_base")
    with pytest.raises(ModelError, match="Unknown encoding gpt22"):
        vocabulary_named("gpt22")


def test_a_token_is_split_by_the_ranks_below_it():
    ranks = {b"a": 0, b"b": 1, b"c": 2, b"bc": 3, b"abc": 4, b"ab": 5}
    assert split_of_token(b"abc", ranks) == [b"a", b"bc"]
    assert split_of_token(b"ab", ranks) == [b"a", b"b"]


def test_merges_that_ids_do_not_follow_are_refused(by_hand, tmp_path):
    """The list makes ``abc`` of ``a`` and ``bc``, but ``ab`` has the lower id: tiktoken would make it otherwise."""
    given = json.loads((by_hand / "tokenizer.json").read_text())
    vocabulary = {**given["model"]["vocab"], "bc": 261, "abc": 262}
    merges = [*given["model"]["merges"], ["b", "c"], ["a", "bc"]]
    _save(given, vocabulary, merges, tmp_path)
    with pytest.raises(StepError, match="would not make the token b'abc' as the merges do"):
        vocabulary_of(tmp_path)
    _save(given, {**vocabulary, "xyz": 263}, [*merges[:3], ["b", "c"], ["ab", "c"]], tmp_path)
    with pytest.raises(StepError, match="tiktoken would make the token b'xyz', which no merge"):
        vocabulary_of(tmp_path)


def test_another_kind_of_tokenizer_is_refused(stories):
    with pytest.raises(StepError, match="tiktoken runs byte-level BPE without a normaliser"):
        vocabulary_of(stories.parts["tokenizer"])


def test_the_technique_converts_and_learns_nothing(run, tokenizer_run, as_input):
    ran = run("tiktoken", as_input(tokenizer_run.checkpoint))
    assert ran.checkpoint.made == {"tokenizer"} and ran.meter.metrics == {"vocabulary_size": 300}
    codec = ran.adapter.eval(ran.job)
    assert isinstance(codec, TiktokenCodec)
    with pytest.raises(StepError, match="tiktoken has no trainer: give it a vocabulary"):
        run("tiktoken", Checkpoint(kind="none", parts={}))


_open: dict[tuple[type, Path], TiktokenCodec | TokenizersCodec] = {}


def _codec(kind, folder):
    if (kind, folder) not in _open:
        _open[kind, folder] = kind(folder)
    return _open[kind, folder]


def _written(by_hand, folder):
    folder.mkdir()
    write(vocabulary_of(by_hand), folder)
    return folder


def _save(given, vocabulary, merges, folder):
    model = {**given["model"], "vocab": vocabulary, "merges": merges}
    (folder / "tokenizer.json").write_text(json.dumps({**given, "model": model}))
