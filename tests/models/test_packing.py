"""Texts are put together where that saves tokens: each once, and what is shared is really the same."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from harness.models.packing import Pack, packed

TEXTS = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=12), max_size=30)


@given(texts=TEXTS, longest=st.sampled_from([1, 8, 2048]), most=st.sampled_from([1, 3, 256]))
def test_each_text_is_in_one_pack_and_packs_share_what_they_say(texts, longest, most):
    found = packed(texts, longest, most)
    assert sorted(place for pack in found for place in pack.members) == list(range(len(texts)))
    for pack in found:
        assert pack.lengths == [len(texts[place]) for place in pack.members]
        beginnings = {tuple(texts[place][: pack.shared]) for place in pack.members}
        assert len(beginnings) == 1 and 0 < pack.shared <= min(pack.lengths)
        assert len(pack.members) <= most and (len(pack.members) == 1 or pack.tokens <= longest)
    assert sum(pack.tokens for pack in found) <= sum(map(len, texts))


def test_options_of_one_question_read_it_once():
    question, other = list(range(40)), list(range(100, 140))
    texts = [*([*question, 50 + option, 60] for option in range(4)), *([*other, 50 + option] for option in range(4))]
    found = packed(texts)
    assert [sorted(pack.members) for pack in found] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert [pack.tokens for pack in found] == [40 + 8, 40 + 4]


def test_the_order_of_the_texts_changes_nothing():
    texts = [[1, 2, 3, 4, number] for number in range(5)] + [[9, 8]]
    backwards = [[len(texts) - 1 - place for place in pack.members] for pack in packed(texts[::-1])]
    assert backwards == [pack.members for pack in packed(texts)]


def test_what_shares_little_stands_alone():
    """A beginning-of-text token in common is no reason for a mask, nor is one long text beside many short ones."""
    assert all(len(pack.members) == 1 for pack in packed([[1, *range(start, start + 30)] for start in (10, 50, 90)]))
    assert packed([[1, 2, 3]]) == [Pack([0], 3, [3])]
