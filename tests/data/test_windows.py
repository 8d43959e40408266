"""Packing and evaluation windows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.data.windows import evaluation_windows, pack, spread

DOCUMENTS = st.lists(st.lists(st.integers(10, 99), max_size=40), max_size=8)


@given(DOCUMENTS, st.integers(2, 12), st.sampled_from([None, 1]))
def test_packed_sequences_are_the_stream(documents: list[list[int]], length: int, bos: int | None) -> None:
    packed = pack(documents, length, bos, 2)
    stream = [token for document in documents if document for token in [*document, 2]]
    assert all(len(sequence) == length for sequence in packed)
    front = 0 if bos is None else 1
    joined = [token for sequence in packed for token in sequence[front:]]
    assert joined == stream[: len(joined)]
    assert len(stream) - len(joined) < length - front
    assert all(sequence[0] == bos for sequence in packed) or bos is None


def test_pack_by_hand() -> None:
    assert pack([[5, 6], [], [7, 8, 9]], 3, None, 2) == [[5, 6, 2], [7, 8, 9]]
    assert pack([[5, 6], [7, 8, 9]], 3, 1, None) == [[1, 5, 6], [1, 7, 8]]


@given(DOCUMENTS, st.integers(2, 12))
def test_windows_do_not_overlap_and_stay_in_one_document(documents: list[list[int]], length: int) -> None:
    numbered = [[1000 * index + place for place in range(len(each))] for index, each in enumerate(documents)]
    windows = evaluation_windows(numbered, length, -1, None)
    seen = [token for window in windows for token in window[1:]]
    assert len(seen) == len(set(seen))
    assert all(window[0] == -1 and 2 <= len(window) <= length for window in windows)
    assert all(len({token // 1000 for token in window[1:]}) == 1 for window in windows)
    assert {token // 1000 for token in seen} == {index for index, each in enumerate(documents) if each}


def test_last_piece_counts_from_half_a_window() -> None:
    assert evaluation_windows([list(range(10))], 4, None) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert evaluation_windows([list(range(9))], 4, None) == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert evaluation_windows([[7]], 4, None) == []  # nothing to score without a token before it
    assert evaluation_windows([[7]], 4, 1) == [[1, 7]]


def test_limit_spreads_over_the_documents() -> None:
    documents = [[index] * 40 for index in range(10)]
    windows = evaluation_windows(documents, 4, None, 10)
    assert [window[0] for window in windows] == list(range(10))


@given(st.lists(st.integers(), unique=True), st.integers(1, 20))
def test_spread_keeps_order_and_number(items: list[int], limit: int) -> None:
    found = spread(items, limit)
    assert len(found) == min(limit, len(items))
    assert [item for item in items if item in set(found)] == found


def test_length_of_one_token_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 2"):
        pack([[1, 2]], 1, None, None)
