"""The masking rule, by statistics over many tokens with a fixed seed, and whole words as the tokenizer splits them."""

from __future__ import annotations

import math

import pytest
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from harness.errors import StepError
from harness.models.loading import load_tokenizer
from harness.models.scoring import IGNORED
from harness.training.masking import NO_WORD, Masker, windows_to_mask, word_numbers
from harness.training.special_tokens import add_mask

LENGTH = 64


@pytest.fixture(scope="module")
def tokenizer(tokenizer_run):
    found = load_tokenizer(tokenizer_run.checkpoint)
    add_mask(found)
    return found


@pytest.fixture(scope="module")
def windows(tokenizer, tiny_data):
    return windows_to_mask(tiny_data, "train", tokenizer, LENGTH, 400, whole_word=True)


def within(share, expected, count, deviations=4.0):
    """Whether a share of ``count`` draws is within so many standard deviations of the expected one."""
    return abs(share - expected) < deviations * math.sqrt(expected * (1 - expected) / count)


def drawn(masker, windows):
    """Over all windows: the ids before, the ids after, and the labels."""
    before, after, labels = [], [], []
    for window in windows:
        row = masker([window])
        before += window["input_ids"]
        after += row["input_ids"][0].tolist()
        labels += row["labels"][0].tolist()
    return before, after, labels


@pytest.mark.parametrize("whole_word", [False, True])
def test_15_percent_of_which_80_10_10(tokenizer, windows, whole_word):
    before, after, labels = drawn(Masker(tokenizer, 0.15, whole_word, seed=3), windows)
    chosen = [place for place, label in enumerate(labels) if label != IGNORED]
    assert len(before) > 10_000
    assert all(labels[place] == before[place] for place in chosen)
    assert all(before[place] == after[place] for place in set(range(len(before))) - set(chosen))
    # Tokens of a word are chosen together, so that fewer draws stand behind the share.
    assert within(len(chosen) / len(before), 0.15, len(before) / (3 if whole_word else 1))
    masked = sum(after[place] == tokenizer.mask_token_id for place in chosen) / len(chosen)
    same = sum(after[place] == before[place] for place in chosen) / len(chosen)
    assert within(masked, 0.8, len(chosen)) and within(same, 0.1, len(chosen))
    assert within(1 - masked - same, 0.1, len(chosen))


def test_words_are_chosen_whole(tokenizer, windows):
    masker = Masker(tokenizer, 0.15, True, seed=0)
    split = 0
    for window in windows:
        labels = masker([window])["labels"][0].tolist()
        by_word = {}
        for word, label in zip(window["words"], labels, strict=True):
            by_word.setdefault(word, set()).add(label != IGNORED)
        assert all(len(found) == 1 for found in by_word.values())
        split += len(labels) - len(by_word)
    assert split > 500, "words of several tokens are among them"


def test_words_are_those_of_the_tokenizer(tokenizer):
    text = "def scale_3(a):\n    return a"
    (words,) = word_numbers(tokenizer, [text])
    pieces = tokenizer.convert_ids_to_tokens(tokenizer(text, add_special_tokens=False)["input_ids"])
    joined = {}
    for word, piece in zip(words, pieces, strict=True):
        joined[word] = joined.get(word, "") + piece
    assert [joined[word] for word in sorted(joined)] == [
        "def", "Ġscale", "_", "3", "(", "a", "):", "ĊĠĠĠ", "Ġreturn", "Ġa",
    ]  # fmt: skip


def test_the_ends_of_documents_are_never_chosen(tokenizer):
    end = tokenizer.eos_token_id
    for whole_word in (False, True):
        masker = Masker(tokenizer, 0.9, whole_word, seed=0)
        example = {"input_ids": [5, end] * 32, "words": [number for at in range(32) for number in (at, NO_WORD)]}
        for _ in range(5):
            labels = masker([example])["labels"][0].tolist()
            assert labels[1::2] == [IGNORED] * 32 and labels[::2] != [IGNORED] * 32


def test_the_same_seed_masks_the_same_and_every_call_anew(tokenizer, windows):
    first, again, other = (Masker(tokenizer, 0.15, False, seed=seed) for seed in (1, 1, 2))
    one = first.sequences(windows)
    assert one == again.sequences(windows)
    assert one != other.sequences(windows)
    assert one != first.sequences(windows)


def test_a_tokenizer_without_words_is_one_clear_line():
    letters = Tokenizer(models.BPE(vocab={"a": 0}, merges=[]))
    with pytest.raises(StepError, match="whole_word=true: this tokenizer does not split text into words"):
        word_numbers(PreTrainedTokenizerFast(tokenizer_object=letters), ["a" * 200])
