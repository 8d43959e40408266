"""The two techniques of sentencepiece: ``sentencepiece_unigram``, ``sentencepiece_bpe``."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.contract import Checkpoint
from harness.errors import DataError, StepError
from harness.models.loading import load_tokenizer
from harness.models.scoring import token_bytes
from harness.vocabularies.learning import END, PAD

NAMES = ("sentencepiece_unigram", "sentencepiece_bpe")
LOSSLESS = {"normalization": "identity", "keep_whitespace": True, "byte_fallback": True}
NOTHING = Checkpoint(kind="none", parts={})
TEXT = st.text() | st.text(alphabet="abz019_()=<>|x\n\t\r  é▅\x00", max_size=60)

each = pytest.mark.parametrize("name", NAMES)


class Words:
    """A data set of the given documents."""

    name = "words"
    fingerprint = "words-1"

    def __init__(self, *texts):
        self.texts = list(texts)

    def view(self, name, split):
        return self.texts


@pytest.fixture(scope="module", params=NAMES)
def lossless(request, run):
    return run(request.param, NOTHING, vocab_size=300, **LOSSLESS)


@pytest.fixture(scope="module")
def codec(lossless):
    return lossless.adapter.eval(replace(lossless.job, checkpoint=lossless.checkpoint))


@pytest.fixture(scope="module")
def tokenizer(lossless):
    return load_tokenizer(lossless.checkpoint)


def pieces_of(ran):
    codec = ran.adapter.eval(replace(ran.job, checkpoint=ran.checkpoint))
    return {codec.piece(token) for token in range(codec.vocabulary_size)}


def test_the_vocabulary_is_learnt(lossless, codec, tokenizer, tiny_data):
    assert lossless.meter.metrics["vocabulary_size"] == codec.vocabulary_size == len(tokenizer) == 300
    assert lossless.meter.spans == ["data", "train", "save"]
    assert lossless.checkpoint.made == {"tokenizer"}
    text = tiny_data.view("text", "test")[0]
    assert len(codec.encode(text)) < 0.8 * len(text.encode()), "pieces shorten text of the same kind"


def test_transformers_knows_its_special_tokens(codec, tokenizer):
    assert (tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token) == (END, END, PAD)
    assert (tokenizer.eos_token_id, tokenizer.pad_token_id) == (0, 1)
    assert tokenizer.unk_token_id == codec.unknown_id == 2
    assert [codec.piece(token) for token in (0, 1, 2)] == [None, None, None]
    assert tokenizer("ab")["input_ids"] == codec.encode("ab"), "none is put around a text"
    assert not {0, 1, 2} & set(codec.encode(f"a{END}{PAD}<unk>")), "none is read in a text"


@settings(max_examples=150, deadline=None)
@given(text=TEXT)
def test_without_normalisation_every_text_comes_back(codec, tokenizer, text):
    ids = codec.encode(text)
    kept = text.replace("▁", " ")  # the library's own sign for a space: lost, and measured as such
    assert codec.decode(ids) == tokenizer.decode(ids) == kept
    assert b"".join(codec.piece(token) for token in ids) == kept.encode()
    lengths = token_bytes(tokenizer)
    theirs = tokenizer(text, split_special_tokens=True)["input_ids"]
    assert sum(lengths[token] for token in theirs) == len(kept.encode())


def test_texts_come_back_where_spaces_are_many(codec):
    for text in ("  a", "a  ", "   ", "\n\n\ta\r\n", "a\tb", " ", "\n"):
        assert codec.decode(codec.encode(text)) == text
    joined = codec.encode("def f") + codec.encode("(a):\n")
    assert codec.decode(joined) == "def f(a):\n", "nothing is put in front of a text"


def test_newlines_and_tabs_are_bytes_and_runs_of_spaces_pieces(codec):
    assert [codec.piece(token) for token in codec.encode("\n\t")] == [b"\n", b"\t"]
    assert set(codec.encode("\n\t")) <= codec.byte_ids and len(codec.byte_ids) == 256
    assert len(codec.encode("    ")) < 4


def test_batches_give_what_single_texts_give(codec, tiny_data):
    texts = [*tiny_data.view("text", "test"), "", "é"]
    codec.use_threads(2)
    assert codec.encode_batch(texts) == [codec.encode(text) for text in texts]
    assert codec.decode_batch(codec.encode_batch(texts)) == texts
    assert codec.encode_batch([]) == [] and codec.decode_batch([[], [5]]) == ["", codec.decode([5])]


def test_what_utf8_cannot_hold_is_refused(codec):
    with pytest.raises(UnicodeEncodeError):
        codec.encode("a\ud800")


@each
def test_the_defaults_are_the_librarys(run, name):
    ran = run(name, NOTHING, vocab_size=50)
    codec = ran.adapter.eval(replace(ran.job, checkpoint=ran.checkpoint))
    assert codec.decode(codec.encode("  a \n\t ａ  = 1 ")) == "a a = 1", "trimmed, collapsed, one width"
    assert codec.unknown_id in codec.encode("é") and codec.byte_ids == frozenset()
    told = codec.describe()
    assert told["normalizer"] == "nmt_nfkc" and told["remove_extra_whitespaces"] and told["add_dummy_prefix"]
    assert told["model"] == {"sentencepiece_unigram": "Unigram", "sentencepiece_bpe": "BPE"}[name]
    lengths = token_bytes(load_tokenizer(ran.checkpoint))
    assert sum(lengths[token] for token in codec.encode("a  = a")) == len(" a = a"), "the text as it was rewritten"


@each
def test_nothing_is_skipped(run, name):
    long = " ".join(["filler"] * 1500 + ["zebra"] * 500)
    data = Words(f"{long}\n▅ quagga quagga quagga\n" * 20)
    size = {"sentencepiece_unigram": 18, "sentencepiece_bpe": 40}[name]
    found = pieces_of(run(name, NOTHING, vocab_size=size, character_coverage=1.0, job={"data": data}))
    assert {b" zebra", b" quagga"} <= found, "a line over the library's limit, a line with its internal mark"


@each
def test_the_same_text_gives_the_same_files(run, name):
    one, two = (run(name, NOTHING, vocab_size=300, **LOSSLESS).checkpoint.parts["tokenizer"] for _ in "ab")
    for file in ("tokenizer.model", "tokenizer.json"):
        assert (one / file).read_bytes() == (two / file).read_bytes()


@each
def test_training_is_silent(run, name, capfd):
    run(name, NOTHING, vocab_size=50)
    assert capfd.readouterr() == ("", "")


@each
def test_what_cannot_be_learnt_is_one_clear_line(run, name):
    with pytest.raises(StepError, match=r"^the text gives a vocabulary of (\d+), not 20000: give more text") as told:
        run(name, NOTHING, vocab_size=20_000)
    most = int(str(told.value).split(" of ")[1].split(",")[0])
    assert run(name, NOTHING, vocab_size=most).meter.metrics["vocabulary_size"] == most, "the number told works"
    with pytest.raises(StepError, match=r"^vocab_size=20 is too small, the characters and .* take \d+ entries: raise"):
        run(name, NOTHING, vocab_size=20)
    with pytest.raises(StepError, match=r"the characters, the 256 bytes and the special tokens take 2\d\d entries"):
        run(name, NOTHING, vocab_size=259, byte_fallback=True)
    for empty in (Words(), Words("", "\n"), Words("  ", "\t")):
        with pytest.raises(DataError, match="nothing to learn from: every document is empty or white space"):
            run(name, NOTHING, job={"data": empty})
    with pytest.raises(DataError, match="'words' holds a lone surrogate in"):
        run(name, NOTHING, job={"data": Words("a\ud800b")})


@each
def test_a_model_learns_over_its_vocabulary(run, architecture, open_live, name):
    ids = run(name, NOTHING, vocab_size=300, **LOSSLESS).checkpoint
    blank = Checkpoint(kind="blank", parts={**architecture("llama").parts, **ids.parts})
    ran = run("clm", blank, job={"steps": 12, "batch_size": 8, "evaluations": 2})
    assert open_live(ran.checkpoint).get_input_embeddings().weight.shape == (300, 64)
    assert sum(ran.losses[-3:]) < 0.8 * sum(ran.losses[:3])
    curve = [point["validation_bits_per_byte"] for point in ran.meter.points]
    assert curve[0] > curve[-1] > 0
