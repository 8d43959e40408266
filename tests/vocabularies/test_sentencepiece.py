"""sentencepiece's model and the ``tokenizer.json`` made of it give the same ids; where they cannot, each case."""

from __future__ import annotations

import itertools
import random
import unicodedata
from functools import cache

import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st
from sentencepiece import SentencePieceProcessor
from sentencepiece.sentencepiece_model_pb2 import ModelProto
from transformers import AutoTokenizer

from harness.contract import Checkpoint
from harness.errors import ModelError
from harness.vocabularies.learning import PAD
from harness.vocabularies.sentencepiece import LONGEST_LINE, RULES, lines_to_learn
from harness.vocabularies.sentencepiece_codec import SentencePieceCodec
from harness.vocabularies.sentencepiece_conversion import tokenizer_of

COMBINATIONS = list(itertools.product(("unigram", "bpe"), RULES, (False, True), (False, True)))
WORDS = (
    "  ", "    ", " ", "\n", "\t", "\r\n", "def", "return", "self", "x", "(", "))", "))))", "====", "----", "aaaa",
    "<unk>", "<0x0A>", "<|endoftext|>", "▁", "▅", "é", "É", "\u3000", "\x00", "\x01", "ﬁ", "½", "Ⅳ", "１", "日本", "😀",
    "İ", "ß",
)  # fmt: skip
TEXT = st.text() | st.lists(st.sampled_from(WORDS), max_size=30).map("".join)

each = pytest.mark.parametrize(("kind", "rule", "keep", "spell"), COMBINATIONS)


class Corpus:
    """Code-like lines, other scripts, and the characters of every special token."""

    name = "corpus"
    fingerprint = "corpus-1"

    def view(self, name, split):
        chance = random.Random("corpus")
        words = ["def", "return", "self", "if", "x", "(", ")", "))", "():", "=", "====", "'é'", "日本語", "ﬁ"]
        words += ["".join(chance.choices("aeinrst", k=chance.randrange(2, 7))) for _ in range(120)]
        lines = [" " * chance.choice((0, 4, 8)) + " ".join(chance.choices(words, k=8)) for _ in range(800)]
        return ["\n".join([*lines, *["<unk> <> 0123456789 xA"] * 8])]


@pytest.fixture(scope="module")
def opened(run):
    """Both openings of a model, learnt once: ``opened("bpe", "identity", True, False)``."""

    @cache
    def make(kind, rule, keep, spell):
        params = {"normalization": rule, "keep_whitespace": keep, "byte_fallback": spell, "character_coverage": 1.0}
        nothing = Checkpoint(kind="none", parts={})
        size = 390 if spell else 140
        folder = run(f"sentencepiece_{kind}", nothing, vocab_size=size, job={"data": Corpus()}, **params)
        folder = folder.checkpoint.parts["tokenizer"]
        return SentencePieceCodec(folder), AutoTokenizer.from_pretrained(folder, local_files_only=True)

    return make


def ids_of(tokenizer, text):
    return tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]


def normalized(codec, tokenizer, text):
    return codec.processor.normalize(text), tokenizer.backend_tokenizer.normalizer.normalize_str(text)


def tied(codec, one, two):
    """Whether two segmentations spell the same and are equally probable but for rounding in float32."""
    scores = [sum(map(codec.processor.get_score, ids)) for ids in (one, two)]
    spelt = ["".join(map(codec.processor.id_to_piece, ids)) for ids in (one, two)]
    return spelt[0] == spelt[1] and abs(scores[0] - scores[1]) <= 2**-22 * abs(scores[0]) * len(one)


def alone(text):
    """Whether every character is a grapheme cluster of its own (the nmt rules' "\\r\\n" is dealt with)."""
    return all(len(cluster) == 1 or cluster == "\r\n" for cluster in regex.findall(r"\X", text)) and not any(
        unicodedata.category(character) in ("Mn", "Mc", "Me", "Cn") for character in text
    )


@each
def test_both_libraries_give_the_same_ids(opened, kind, rule, keep, spell):
    codec, tokenizer = opened(kind, rule, keep, spell)

    @settings(max_examples=40, deadline=None, database=None)
    @given(text=TEXT)
    def check(text):
        theirs, ours = codec.encode(text), ids_of(tokenizer, text)
        before, after = normalized(codec, tokenizer, text)
        if rule == "identity" or alone(text):
            assert before == after
        if before == after:
            assert theirs == ours or (kind == "unigram" and tied(codec, theirs, ours))

    check()


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_both_libraries_give_the_same_text(opened, kind, keep):
    codec, tokenizer = opened(kind, "nmt_nfkc", keep, True)

    @settings(max_examples=60, deadline=None, database=None)
    @given(text=TEXT)
    def check(text):
        ids = codec.encode(text)
        assert tokenizer.decode(ids) == codec.decode(ids)

    check()


@pytest.mark.parametrize("rule", RULES[1:])
def test_every_character_is_rewritten_alike(opened, rule):
    codec, tokenizer = opened("bpe", rule, True, False)
    known = [chr(code) for code in range(1, 0x30000) if unicodedata.category(chr(code)) not in ("Cn", "Cs", "Co")]
    assert [one for one in known if len({*normalized(codec, tokenizer, one)}) > 1] == []
    apart = [text for one in known if (text := unicodedata.normalize("NFD", one)) != one]
    differing = [text for text in apart if len({*normalized(codec, tokenizer, text)}) > 1]
    assert differing == ["\U00011935\U00011930"], "Unicode 13's one composition is too new for sentencepiece's rules"


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ("nmt_nfkc", "a\u0301\u0323"),  # marks out of canonical order
        ("nmt_nfkc", "a\u0344"),  # a mark that is composed of two
        ("nmt_nfkc", "\u00a0\u0301"),  # a mark behind a character that has a rule
        ("nmt_nfkc", "ﾊﾞ"),  # likewise, in half width
        ("nfkc_cf", "A\u0305"),  # with case folding, a capital that has no composed form
    ],
)
def test_combining_marks_on_which_they_disagree(opened, rule, text):
    before, after = normalized(*opened("bpe", rule, True, False), text)
    assert before != after, "they agree now: say so in the docstring"
    assert len({*normalized(*opened("bpe", "identity", True, False), text)}) == 1


def test_combining_marks_on_which_they_agree(opened):
    for text in ("E\u0301", "\u1112\u1161\u11ab", "か\u3099", "e\u0323\u0302", "x\u0301", "❤\ufe0f", "👨\u200d👩"):
        assert len({*normalized(*opened("unigram", "nmt_nfkc", True, False), text)}) == 1


def by_hand(pieces, spell=False):
    """A unigram model of ``pieces`` with their scores, opened in both libraries."""
    model = ModelProto()
    model.trainer_spec.model_type, model.trainer_spec.unk_id, model.trainer_spec.byte_fallback = 1, 0, spell
    model.normalizer_spec.add_dummy_prefix = model.normalizer_spec.remove_extra_whitespaces = False
    special, single = model.SentencePiece.CONTROL, model.SentencePiece.BYTE
    kinds = {"<unk>": model.SentencePiece.UNKNOWN, PAD: special}
    kinds |= {f"<0x{byte:02X}>": single for byte in range(256)} if spell else {}
    for piece, kind in kinds.items():
        model.pieces.add(piece=piece, score=0, type=kind)
    for piece, score in pieces.items():
        model.pieces.add(piece=piece, score=score, type=model.SentencePiece.NORMAL)
    packed = model.SerializeToString()
    return SentencePieceProcessor(model_proto=packed), tokenizer_of(packed)


def test_ties_on_which_they_disagree():
    theirs, ours = by_hand({")": -1.7, "))": -2.3, "a": -5.3})
    texts = ["a" * count + ")))" for count in range(200)]
    pairs = [(theirs.encode(text), ours.encode(text).ids) for text in texts]
    assert any(one != two for one, two in pairs), "they agree now: say so in the docstring"
    assert all(sorted(one) == sorted(two) for one, two in pairs)


@pytest.mark.parametrize("spell", [False, True])
@pytest.mark.parametrize("known", ["a", "apd", "unk>", "0x4Ap", "<|>unkpad0xA"])
def test_names_are_text(known, spell):
    theirs, ours = by_hand(dict.fromkeys(known, -2.0), spell)
    for text in ("<unk>", "a<unk>a", "☃<unk>", "☃☃a<", f"a{PAD}a", "<0x0A>", "<0xA0><0x4A>"):
        assert theirs.encode(text) == ours.encode(text).ids
        assert 1 not in ours.encode(text).ids, "a special token is never read in a text"


def test_names_on_which_they_disagree():
    theirs, ours = by_hand({"z": -2.0})
    assert (theirs.encode(PAD), ours.encode(PAD).ids) == ([0], [1])
    theirs, ours = by_hand({"z": -2.0}, spell=True)
    assert theirs.encode(PAD) == ours.encode(PAD).ids == [2 + byte for byte in PAD.encode()]


def test_byte_pairs_merge_alike_where_pieces_overlap(run):
    class Runs:
        name = "runs"

        def view(self, name, split):
            chance = random.Random("runs")
            return ["\n".join("".join(chance.choices("ab", k=3)) * chance.randrange(1, 9) for _ in range(300))]

    ran = run("sentencepiece_bpe", Checkpoint(kind="none", parts={}), vocab_size=90, job={"data": Runs()})
    folder = ran.checkpoint.parts["tokenizer"]
    codec, tokenizer = SentencePieceCodec(folder), AutoTokenizer.from_pretrained(folder, local_files_only=True)
    chance = random.Random("texts")
    for _ in range(300):
        text = "".join(chance.choices("ab", k=chance.randrange(1, 5))) * chance.randrange(1, 20)
        assert codec.encode(text) == ids_of(tokenizer, text)


@settings(max_examples=60, deadline=None)
@given(text=st.text(alphabet="ab é日😀\n▅\r", max_size=50), times=st.integers(1, 400))
def test_lines_are_the_whole_text_and_short_enough(text, times):
    lines = list(lines_to_learn([text * times], "x"))
    assert b"".join(lines).decode() == (text * times).replace("\n", "").replace("▅", "")
    assert all(0 < len(line) <= 4 * LONGEST_LINE < 4192 for line in lines)
    assert not any(b"\n" in line for line in lines)


def test_long_lines_are_cut_before_a_space():
    words = " ".join(f"word{index}" for index in range(1000))
    lines = [line.decode() for line in lines_to_learn([words], "x")]
    assert len(lines) > 5 and [word for line in lines for word in line.split()] == words.split()
    assert all(line.startswith(" word") for line in lines[1:])


def test_a_folder_without_a_model_is_one_clear_line(tmp_path):
    with pytest.raises(ModelError, match=r"has no tokenizer\.model"):
        SentencePieceCodec(tmp_path)
