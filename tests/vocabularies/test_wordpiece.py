"""The trainer of WordPiece vocabularies, held against the corpus counted anew and against the tokenizers library."""

from __future__ import annotations

import argparse
import inspect
import math
import string
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.vocabularies.merging import CutText
from harness.vocabularies.wordpiece import (
    MARKS,
    SCORES,
    count_words,
    first_pieces,
    learn,
    learn_with_library,
    tokenizer_of,
)

# Two letters, so that runs (aaa) and pieces that are their own neighbours are common.
WORDS = st.dictionaries(st.text("ab", min_size=1, max_size=9), st.integers(1, 5), min_size=1, max_size=6)
PRE_TOKENIZERS = tuple(MARKS)


def cut(words, merges=(), mark="##"):
    """Words as lists of pieces, merged by hand."""
    found = {word: [word[0], *(mark + letter for letter in word[1:])] for word in words}
    for left, right in merges:
        for pieces in found.values():
            at = 0
            while at + 1 < len(pieces):
                if (pieces[at], pieces[at + 1]) == (left, right):
                    pieces[at : at + 2] = [left + right.removeprefix(mark)]
                at += 1
    return found


def log_likelihood(words, pieces):
    """Of the text under a unigram model with the pieces' own frequencies, nats."""
    counts = Counter()
    for word, weight in words.items():
        for piece in pieces[word]:
            counts[piece] += weight
    return sum(count * math.log(count / counts.total()) for count in counts.values())


def text_of(words, overlapping=False):
    return CutText(words, first_pieces(words, "bert"), "##", overlapping=overlapping)


def gains(text):
    """Every pair of pieces that stand side by side, and what the formula says that its merge gains."""
    pairs, counts = text.neighbours(1)
    gain = SCORES["likelihood"](counts).tolist()
    names = [(text.pieces[left], text.pieces[right]) for left, right in pairs.T.tolist()]
    return dict(zip(names, gain, strict=True))


@settings(max_examples=150, deadline=None)
@given(words=WORDS, choices=st.lists(st.integers(0, 100), max_size=6))
def test_the_gain_of_every_merge_is_the_likelihood_after_less_that_before(words, choices):
    text, merges = text_of(words), []
    for choice in [*choices, 0]:
        before = log_likelihood(words, cut(words, merges))
        expected = {
            pair: log_likelihood(words, cut(words, [*merges, pair])) - before
            for pieces in cut(words, merges).values() for pair in pairwise(pieces)
        }  # fmt: skip
        assert gains(text) == pytest.approx(expected, abs=1e-9)
        if not expected:
            return
        best = text.best(SCORES["likelihood"], 1)
        if best is not None:
            assert expected[text.pieces[best[0]], text.pieces[best[1]]] == pytest.approx(max(expected.values()))
        else:
            assert max(expected.values()) < 1e-9
        merges.append(sorted(expected)[choice % len(expected)])
        text.merge(tuple(text.pieces.index(piece) for piece in merges[-1]))


@settings(max_examples=150, deadline=None)
@given(words=WORDS, choices=st.lists(st.integers(0, 100), max_size=8), overlapping=st.booleans())
def test_counts_kept_up_are_those_of_a_text_counted_anew(words, choices, overlapping):
    text, merges = text_of(words, overlapping), []
    for choice in choices:
        pairs, counts = text.neighbours(1)
        found = cut(words, merges)
        assert [[text.pieces[piece] for piece in word] for word in text.words] == list(found.values())
        side_by_side = Counter()
        for word, weight in words.items():
            for pair in pairwise(found[word]):
                side_by_side[pair] += weight
        names = [(text.pieces[left], text.pieces[right]) for left, right in pairs.T.tolist()]
        assert len(names) == len(set(names)) and set(names) == set(side_by_side)
        assert counts.total == sum(len(found[word]) * weight for word, weight in words.items())
        if overlapping:
            assert dict(zip(names, counts.pair.tolist(), strict=True)) == side_by_side
        if not names:
            return
        merges.append(sorted(names)[choice % len(names)])
        text.merge(tuple(text.pieces.index(piece) for piece in merges[-1]))
        assert len(set(text.pieces)) == len(text.pieces), "no piece is made twice"


def test_what_is_remembered_of_pairs_goes_with_them():
    text = text_of(count_words([inspect.getsource(argparse)], "bert"))
    for _ in range(400):
        text.merge(text.best(SCORES["frequency"], 1))
    table = text.table
    assert table.places.keys() == table.slots.keys()
    assert len(table.slots) + len(table.free) == table.rows.shape[1]


def test_a_run_has_as_many_merges_as_fit():
    for overlapping, expected in ((False, 2 * 2 + 3 * 1), (True, 2 * 4 + 3 * 1)):
        text = text_of({"xaaaaa": 2, "xaa": 3}, overlapping)
        pairs, counts = text.neighbours(1)
        place = next(at for at, (left, right) in enumerate(pairs.T) if left == right)
        assert counts.pair[place] == expected and counts.same.tolist() == [at == place for at in range(2)]


def test_each_criterion_takes_the_pair_that_its_formula_says():
    # ab: 30 of 50 a and 40 b. cd: only with each other, 9 times. xy: only with each other, 2 times.
    words = {"ab": 30, "ae": 20, "fb": 10, "cd": 9, "xy": 2}
    first = first_pieces(words, "bert")
    made = {name: learn(words, first, "bert", len(first) + 1, 2, name)[-1] for name in SCORES}
    total = 2 * sum(words.values())

    def f(count):
        return count * math.log(count)

    gain = {
        "ab": f(20) + f(10) + f(30) - f(50) - f(40) - f(total - 30) + f(total),
        "cd": f(9) - 2 * f(9) - f(total - 9) + f(total),
        "fb": f(30) + f(10) - f(10) - f(40) - f(total - 10) + f(total),
    }
    assert max(gain, key=gain.__getitem__) == "cd"
    assert made == {"frequency": "ab", "likelihood": "cd", "ratio": "xy"}
    assert learn(words, first, "bert", len(first) + 1, 3, "ratio")[-1] == "cd", "a minimum holds it"


def test_equal_scores_go_to_the_oldest_pieces():
    words = {"dc": 2, "bc": 2, "ba": 2}
    first = first_pieces(words, "bert")
    assert first[3:] == ["a", "b", "c", "d", "##a", "##c"]
    for given_words in (words, dict(reversed(words.items()))):
        assert learn(given_words, first, "bert", len(first) + 3, 2, "frequency")[-3:] == ["ba", "bc", "dc"]


def test_it_ends_where_no_merge_is_worth_it():
    elsewhere = {"a" + letter: 1 for letter in string.digits} | {letter + "c": 1 for letter in string.digits}
    words = {"ac": 2, **elsewhere}  # a and c are less often neighbours than by chance: 12 * 12 / 44 times
    first = first_pieces(words, "bert")
    assert gains(text_of(words))["a", "##c"] < 0
    assert learn(words, first, "bert", 100, 2, "likelihood") == first
    assert learn(words, first, "bert", 100, 2, "frequency") == [*first, "ac"]
    assert learn(words, first, "bert", 100, 3, "frequency") == first, "no pair occurs 3 times"


@pytest.mark.parametrize("splitting", PRE_TOKENIZERS)
def test_merging_by_frequency_gives_the_library_s_vocabulary_to_the_letter(splitting):
    texts = [inspect.getsource(argparse), inspect.getsource(inspect)]
    words = count_words(texts, splitting)
    first = first_pieces(words, splitting)
    size = len(first) + 1200
    own = learn(words, first, splitting, size, 2, "frequency")
    assert len(own) == size and own == learn_with_library(texts, first, splitting, size, 2)
    assert set(learn(words, first, splitting, size, 2, "likelihood")) != set(own)


@settings(max_examples=60, deadline=None)
@given(words=WORDS, extra=st.integers(1, 20), least=st.integers(1, 3))
def test_it_agrees_with_the_library_on_runs_and_stops_with_it(words, extra, least):
    texts = [" ".join(word for word, times in words.items() for _ in range(times))]
    first = first_pieces(words, "bert")
    own = learn(count_words(texts, "bert"), first, "bert", len(first) + extra, least, "frequency")
    assert own == learn_with_library(texts, first, "bert", len(first) + extra, least)


def test_the_library_by_itself_begins_with_the_same_pieces():
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    texts = ["un_happy (naïve) 漢字 #ab\n\tif x"]
    plain = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    plain.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    plain.train_from_iterator(texts, trainers.WordPieceTrainer(vocab_size=1, show_progress=False))
    assert set(plain.get_vocab()) == set(first_pieces(count_words(texts, "bert"), "bert")[3:])


def test_words_are_those_of_bert_and_of_gpt2():
    text = "Don't  stop_it, naïve\n\n    x"
    assert count_words([text, "x"], "bert") == {
        "Don": 1, "'": 1, "t": 1, "stop": 1, "_": 1, "it": 1, ",": 1, "naïve": 1, "x": 2,
    }  # fmt: skip
    spaced = {word.replace("Ġ", " ").replace("Ċ", "\n") for word in count_words([text], "byte_level")}
    assert {"Don", "'t", " ", " stop", "_", "it", ",", " na\xc3\xafve", "\n\n   ", " x"} == spaced


@pytest.mark.parametrize("splitting", PRE_TOKENIZERS)
def test_the_longest_piece_is_taken_first(splitting):
    mark = MARKS[splitting]
    first = first_pieces({"aabcd": 1}, splitting)
    tokenizer = tokenizer_of([*first, "ab", "abc", f"{mark}cd", f"{mark}d"], splitting)
    assert tokenizer.encode("abcd").tokens == ["abc", f"{mark}d"]
    assert tokenizer.encode("abcab").tokens == ["abc", f"{mark}a", f"{mark}b"], "a beginning is no continuation"
