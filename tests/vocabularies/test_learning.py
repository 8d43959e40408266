"""What a vocabulary is learnt from, and what it must reach."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import DataError, StepError
from harness.vocabularies.learning import must_reach, training_corpus


class Given:
    """A job over these texts that learns from at most ``limit`` bytes; data set, parameters and meter in one."""

    name = "given"

    def __init__(self, texts, limit=None):
        self.texts, self.corpus_bytes, self.recorded = texts, limit, {}
        self.data = self.params = self.meter = self

    def view(self, name, split):
        assert (name, split) == ("text", "train")
        return list(self.texts)

    def metric(self, name, value):
        self.recorded[name] = value


def test_without_a_limit_it_is_the_text_as_it_stands():
    job = Given(["b", "é"])
    assert training_corpus(job) == ["b", "é"] and job.recorded == {"corpus_bytes": 3}


@given(st.lists(st.text(st.characters(codec="utf-8"), min_size=1), min_size=1, max_size=8), st.data())
def test_a_limit_is_kept_to_the_character(texts, data):
    total = sum(len(text.encode()) for text in texts)
    limit = data.draw(st.integers(1, total))
    job = Given(texts, limit)
    found = training_corpus(job)
    assert job.recorded["corpus_bytes"] == sum(len(text.encode()) for text in found)
    assert limit - 3 <= sum(len(text.encode()) for text in found) <= limit
    assert all(any(text.startswith(piece) for text in texts) for piece in found)


def test_a_larger_corpus_contains_the_smaller():
    texts = [f"document {number} " * 5 for number in range(20)]
    small, large = (training_corpus(Given(texts, limit)) for limit in (300, 900))
    assert large[: len(small) - 1] == small[:-1] and large[len(small) - 1].startswith(small[-1])


def test_too_little_text_is_one_clear_line():
    with pytest.raises(DataError, match="corpus_bytes=10: the training text of 'given' has only 4 bytes"):
        training_corpus(Given(["ab", "cd"], 10))


def test_a_vocabulary_is_reached_or_refused():
    must_reach(10, 10, "")
    with pytest.raises(StepError, match="the text gives a vocabulary of 9, not 10: more text"):
        must_reach(10, 9, "more text")
