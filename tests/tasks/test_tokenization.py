"""``tokenization``, ``tokenization_speed``, ``language_parity``: every number against one counted by hand."""

from __future__ import annotations

import pytest

from harness.data.hostile import HOSTILE
from harness.data.lengths import helpings, of_length
from harness.errors import DataError, StepError
from harness.tasks import tokenization_speed
from harness.tasks.language_parity import LanguageParity
from harness.tasks.tokenization import Tokenization
from harness.tasks.tokenization_speed import TokenizationSpeed
from harness.vocabularies.huggingface import TokenizersCodec

pytestmark = pytest.mark.quiet


class WordCodec:
    """A vocabulary on paper: ``un``, ``do``, the space, ``é`` as two bytes, anything else unknown (one per word)."""

    library = "paper"
    vocabulary_size = 10
    unknown_id = 0
    byte_ids = frozenset({8})
    PIECES = {1: b"un", 2: b"do", 3: b" ", 4: b"\xc3", 5: b"\xa9", 6: b"never", 8: b"!"}

    def __init__(self):
        self.threads, self.calls = [], []

    def use_threads(self, threads):
        self.threads.append(threads)

    def encode(self, text):
        if "\ud800" in text:
            raise UnicodeEncodeError("utf-8", text, 0, 1, "surrogates not allowed")
        self.calls.append(text)
        found, rest = [], text.encode("utf-8", "replace")
        while rest:
            token = next((token for token, piece in self.PIECES.items() if rest.startswith(piece)), 0)
            found.append(token)
            rest = rest[len(self.PIECES[token]) :] if token else (rest.partition(b" ")[2] and rest[rest.index(b" ") :])
        return found

    def decode(self, ids):
        return b"".join(self.PIECES.get(token, b"?") for token in ids).decode("utf-8", "replace")

    def encode_batch(self, texts):
        return [self.encode(text) for text in texts]

    def decode_batch(self, sequences):
        return [self.decode(ids) for ids in sequences]

    def piece(self, token):
        return self.PIECES.get(token)


def test_every_share_by_hand(score, data_of):
    """Three paragraphs: ``undo do`` (4 tokens), ``é un!`` (5), ``xyz do`` (3, one unknown, comes back as ``? do``)."""
    text = "undo do\n\né un!\n\nxyz do"
    meter = score(Tokenization, WordCodec(), data=data_of(text=[text]))
    assert meter.metrics == {
        "vocabulary_size": 10,
        "bytes_per_token": (7 + 6 + 6) / 12,
        "fertility": 12 / 6,
        "unknown_share": 1 / 12,
        "byte_token_share": 3 / 12,  # two halves of é, and the fallback piece for !
        "vocabulary_use": 7 / 10,
        "round_trip_share": 2 / 3,
        "hostile_round_trip_share": meter.metrics["hostile_round_trip_share"],
    }
    assert meter.scored["tokenization"] == {
        "item": [0, 1, 2], "tokens": [4, 5, 3], "bytes": [7, 6, 6], "words": [2, 2, 2], "exact": [1, 1, 0],
    }  # fmt: skip


def test_losses_on_hostile_text_are_counted_and_shown(score, data_of):
    meter = score(Tokenization, WordCodec(), data=data_of(text=["un do"]))
    told = meter.observed["hostile"]
    assert set(told) == set(HOSTILE)
    for name, cases in HOSTILE.items():
        assert told[name]["exact"] + told[name]["changed"] + told[name]["refused"] == len(cases)
        assert len(told[name]["lost"]) == told[name]["changed"] + told[name]["refused"]
    assert told["invalid surrogates"]["refused"] == 2, "the two that hold the half that the codec refuses"
    assert told["white space"]["lost"][0] == {"text": "'  two'", "outcome": "changed", "back": "'  ?'"}
    exact = sum(kind["exact"] for kind in told.values())
    assert meter.metrics["hostile_round_trip_share"] == exact / sum(map(len, HOSTILE.values()))
    assert told["white space"]["exact"] >= 1, "one space is in the vocabulary"


def test_a_real_vocabulary_by_hand(score, data_of, by_hand):
    """``abab ab`` is two tokens of 7 bytes in all, ``é`` is two of two: (7 + 2) / 4 bytes per token."""
    meter = score(Tokenization, TokenizersCodec(by_hand), data=data_of(text=["abab ab\n\né"]))
    assert meter.metrics["bytes_per_token"] == 9 / 4 and meter.metrics["fertility"] == 4 / 3
    assert meter.metrics["byte_token_share"] == 2 / 4 and meter.metrics["vocabulary_use"] == 4 / 261
    assert meter.metrics["round_trip_share"] == 1.0 and meter.metrics["unknown_share"] == 0.0


def test_text_without_a_word_is_one_clear_line(score, data_of):
    with pytest.raises(DataError, match="the test text of 'given' is white space alone"):
        score(Tokenization, WordCodec(), data=data_of(text=["\n\n \n\n"]))


def test_a_tokenizer_that_gives_nothing_is_one_clear_line(score, data_of, monkeypatch):
    monkeypatch.setattr(WordCodec, "encode", lambda self, text: [])
    with pytest.raises(StepError, match="gave no token for any text"):
        score(Tokenization, WordCodec(), data=data_of(text=["un do"]))


class Clock:
    """A second passes per character of every text that is encoded, two per decoded token."""

    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def timed(monkeypatch):
    clock, codec = Clock(), WordCodec()
    monkeypatch.setattr(tokenization_speed, "perf_counter", clock)
    encode, decode = codec.encode, codec.decode

    def slow_encode(text):
        clock.now += len(text)
        return encode(text)

    def slow_decode(ids):
        clock.now += 2 * len(ids)
        return decode(ids)

    monkeypatch.setattr(codec, "encode", slow_encode)
    monkeypatch.setattr(codec, "decode", slow_decode)
    return codec


@pytest.mark.parametrize(("batch", "calls"), [(1, 8), (2, 8)])
def test_rates_by_hand(score, data_of, timed, batch, calls):
    """Four rounds of two paragraphs; ``undo`` is 4 characters and bytes and 2 tokens, ``é un`` 4, 5 and 4."""
    text = "\n\n".join(["undo"] * 4 + ["é un"] * 4)
    params = {"rounds": 3, "batch": batch, "threads": 2}
    meter = score(TokenizationSpeed, timed, data=data_of(text=[text]), params=params)
    size = (4 + 5) / 1e6  # each round has one of each
    assert meter.samples["encode_megabytes_per_second"] == pytest.approx([size / 8] * 3)
    assert meter.samples["decode_megabytes_per_second"] == pytest.approx([size / (2 * 2 + 4 * 2)] * 3)
    assert meter.metrics["encode_megabytes_per_second"] == pytest.approx(size / 8)
    assert timed.threads == [2] and len(timed.calls) == calls
    assert meter.spans.count("warm_up") == 1 and meter.spans.count("rounds") == 3


def test_too_few_documents_for_the_rounds_is_one_clear_line(score, data_of):
    with pytest.raises(DataError, match="has 2 documents of length file: too few for 6 rounds of different text"):
        score(TokenizationSpeed, WordCodec(), data=data_of(text=["un", "do"]), params={"length": "file"})


def test_lengths_and_helpings_by_hand():
    text = "a" * 300 + "\n\nb\n\n \n\nc"
    assert list(of_length([text, "d"], "file")) == [text, "d"]
    assert list(of_length([text], "paragraph")) == ["a" * 300, "b", "c"]
    assert list(of_length([text], "tweet")) == ["a" * 280, "a" * 20, "b", "c"]
    assert helpings(["aaaa", "bb", "cc", "d"], 2, 4) == [["aaaa"], ["bb", "cc"]]
    assert helpings(["é" * 10], 2, 4) == [["é" * 10], []]


def test_the_premium_of_a_language_by_hand(score, data_of):
    """3 + 2 tokens against 4 + 4; the sides have 2 + 1 and 1 + 2 words."""
    pairs = [{"source": "un do", "target": "undoundo"}, {"source": "undo", "target": "é un"}]
    meter = score(LanguageParity, WordCodec(), data=data_of(text_to_text=pairs))
    assert meter.metrics == {"token_parity": 8 / 5, "source_fertility": 5 / 3, "target_fertility": 8 / 3}
    assert meter.scored["language_parity"] == {"item": [0, 1], "source_tokens": [3, 2], "target_tokens": [4, 4]}
