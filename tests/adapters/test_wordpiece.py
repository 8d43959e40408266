"""``wordpiece``: three criteria and two ways to split, through the files that AutoTokenizer opens."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.contract import Checkpoint
from harness.errors import StepError
from harness.models.loading import load_tokenizer
from harness.models.scoring import token_bytes

NOTHING = Checkpoint(kind="none", parts={})
SIZES = {"bert": 64, "byte_level": 550}
CRITERIA = ("frequency", "likelihood", "ratio")
TEXT = "def naïve(a):\n\n    '''漢字 \U0001f642'''\n\treturn  a ** 2\n"


@pytest.fixture(scope="module")
def made(run):
    """A vocabulary of the tiny data: ``made("bert", "likelihood")``."""
    seen = {}

    def make(splitting, criterion="frequency"):
        if (splitting, criterion) not in seen:
            size = SIZES[splitting]
            seen[splitting, criterion] = run(
                "wordpiece", NOTHING, vocab_size=size, criterion=criterion, pre_tokenizer=splitting
            )
        return seen[splitting, criterion]

    return make


@pytest.fixture(scope="module")
def opened(made, make_job):
    """The codec and the tokenizer of transformers over the same files."""

    def open_it(splitting, criterion="frequency"):
        ran = made(splitting, criterion)
        return ran.adapter.eval(make_job(ran.checkpoint)), load_tokenizer(ran.checkpoint)

    return open_it


@pytest.mark.parametrize(("splitting", "criterion"), list(itertools.product(SIZES, CRITERIA)))
def test_both_libraries_open_the_vocabulary_that_was_asked_for(made, opened, tiny_data, splitting, criterion):
    ran, (codec, tokenizer) = made(splitting, criterion), opened(splitting, criterion)
    assert ran.meter.spans[:2] == ["data", "train"] and ran.meter.spans[-1] == "save"
    assert ("alphabet" in ran.meter.spans) == (ran.job.params.criterion == "frequency"), "the library counts by itself"
    assert ran.checkpoint.made == {"tokenizer"}
    assert ran.meter.metrics["vocabulary_size"] == len(tokenizer) == codec.vocabulary_size == SIZES[splitting]
    for text in [*tiny_data.view("text", "test"), TEXT]:
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert codec.encode(text) == ids
        assert tokenizer.decode(ids, clean_up_tokenization_spaces=False) == codec.decode(ids)
    marks = [tokenizer.unk_token, tokenizer.eos_token, tokenizer.pad_token, tokenizer.bos_token]
    assert marks == ["[UNK]", "<|endoftext|>", "<|pad|>", "<|endoftext|>"]
    assert codec.unknown_id == tokenizer.unk_token_id
    assert [codec.piece(token) for token in tokenizer.all_special_ids] == [None] * 3


@pytest.mark.parametrize("splitting", SIZES)
def test_the_criterion_and_the_text_decide_the_vocabulary(opened, tiny_data, splitting):
    text = tiny_data.view("text", "test")[0]
    vocabularies, lengths = {}, {}
    for criterion in CRITERIA:
        codec, tokenizer = opened(splitting, criterion)
        vocabularies[criterion], lengths[criterion] = frozenset(tokenizer.get_vocab()), len(codec.encode(text))
    assert len(set(vocabularies.values())) == 3
    assert max(lengths["frequency"], lengths["likelihood"]) < 0.7 * len(text.encode())


@pytest.mark.parametrize("criterion", CRITERIA)
def test_the_same_text_gives_the_same_files(run, made, criterion):
    files = [
        (ran.checkpoint.parts["tokenizer"] / "tokenizer.json").read_bytes()
        for ran in (made("bert", criterion), run("wordpiece", NOTHING, vocab_size=SIZES["bert"], criterion=criterion))
    ]
    assert files[0] == files[1]


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(max_size=25) | st.text("\n\t #_a2é漢▁Ġ", max_size=25))
def test_over_bytes_any_text_comes_back_and_every_byte_is_in_a_piece(opened, text):
    codec, tokenizer = opened("byte_level")
    ids = codec.encode(text)
    assert codec.decode(ids) == text
    assert b"".join(codec.piece(token) for token in ids) == text.encode()
    lengths = token_bytes(tokenizer)
    assert sum(lengths[token] for token in ids) == len(text.encode())


def test_over_bytes_only_a_word_of_over_100_is_lost(opened):
    codec, _ = opened("byte_level")
    assert codec.decode(codec.encode("a" * 100)) == "a" * 100
    assert codec.encode("a" * 101 + " a")[0] == codec.unknown_id
    assert codec.decode(codec.encode("漢" * 33)) == "漢" * 33, "three bytes each"
    assert codec.encode("漢" * 34) == [codec.unknown_id]


def test_bert_loses_white_space_and_says_so(opened):
    codec, tokenizer = opened("bert")
    ids = codec.encode("return  a ** 2\n\n    def")
    assert codec.unknown_id not in ids
    assert codec.decode(ids) == "return a * * 2 def"
    assert b"".join(codec.piece(token) for token in ids) == b"returna**2def"
    lengths = token_bytes(tokenizer)
    assert sum(lengths[token] for token in ids) == len("returna**2def")
    assert codec.encode(codec.decode(ids)) == ids


def test_bert_keeps_case_and_accents_and_does_not_know_new_characters(run, make_job):
    class Given:
        name = "given"

        def view(self, name, split):
            return ["É ÉcoÉ Aa ##x ▁x ."] * 3

    ran = run("wordpiece", NOTHING, job={"data": Given()}, vocab_size=19)
    codec = ran.adapter.eval(make_job(ran.checkpoint))
    assert codec.decode(codec.encode("É coÉ Aa")) == "É coÉ Aa"
    assert codec.decode(codec.encode("Aa.")) == "Aa .", "no guess at the white space that was there"
    assert [codec.piece(token) for token in codec.encode("##x ▁x")][:2] == [b"#", b"#"]
    assert codec.piece(codec.encode("▁")[0]) == "▁".encode()
    assert codec.encode("é z") == [codec.unknown_id] * 2
    assert codec.encode("Az") == [codec.unknown_id], "one unknown character makes the word unknown"


@pytest.mark.parametrize("criterion", CRITERIA)
def test_a_vocabulary_that_cannot_be_is_one_clear_line(run, criterion):
    for splitting, least in (("byte_level", 515), ("bert", 50)):
        message = rf"^vocab_size=20: special tokens and single characters alone need at least {least}$"
        with pytest.raises(StepError, match=message):
            run("wordpiece", NOTHING, vocab_size=20, criterion=criterion, pre_tokenizer=splitting)
    with pytest.raises(StepError, match="the text gives a vocabulary of 515, not 2000: give more text"):
        run(
            "wordpiece", NOTHING, vocab_size=2000, min_frequency=10**6, criterion=criterion, pre_tokenizer="byte_level"
        )  # fmt: skip


def test_it_learns_from_as_many_bytes_as_it_is_given(run):
    few = run("wordpiece", NOTHING, vocab_size=55, corpus_bytes=400, min_frequency=1)
    more = run("wordpiece", NOTHING, vocab_size=55, min_frequency=1)
    few, more = (set(load_tokenizer(ran.checkpoint).get_vocab()) for ran in (few, more))
    assert few != more


@pytest.mark.parametrize("criterion", ["frequency", "likelihood"])
def test_a_model_learns_over_it(run, made, architecture, criterion):
    blank = architecture()
    parts = {**blank.parts, **made("byte_level", criterion).checkpoint.parts}
    ran = run("clm", Checkpoint(kind="blank", parts=parts), job={"steps": 8, "batch_size": 8, "evaluations": 1})
    assert ran.checkpoint.made == {"model"} and ran.losses[-1] < 0.8 * ran.losses[0]
    curve = [point["validation_bits_per_byte"] for point in ran.meter.points]
    assert curve[-1] < curve[0]
