"""Corruption: nothing is lost, as much is hidden as asked for, and spans are as long as asked for."""

from __future__ import annotations

import itertools

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import StepError
from harness.training.corruption import line_order, permuted_infilling, span_corruption, text_infilling

SENTINELS = list(range(1000, 1100))
MASK, LINE, END = 999, 7, 0
tokens = st.lists(st.integers(1, 500), min_size=2, max_size=150)
densities = st.floats(0.01, 0.9)
means = st.floats(1.0, 10.0)
seeds = st.integers(0, 2**32 - 1)


def spans_of(target):
    """Sentinel -> its span, in the order of the target."""
    found = {}
    for token in target:
        if token in SENTINELS:
            assert token not in found
            found[token] = []
            last = token
        else:
            found[last].append(token)
    return found


@settings(max_examples=200, deadline=None)
@given(ids=tokens, density=densities, mean=st.floats(3.0, 10.0), seed=seeds)
def test_source_and_target_of_span_corruption_are_the_text(ids, density, mean, seed):
    found = span_corruption(ids, density, mean, SENTINELS, numpy.random.default_rng(seed))
    spans = spans_of(found.target)
    assert list(spans) == SENTINELS[: len(spans)], "sentinels stand in their order"
    assert [token for token in found.source if token in SENTINELS] == list(spans)
    restored = [part for token in found.source for part in spans.get(token, [token])]
    assert restored == ids
    assert found.hidden == [token not in SENTINELS for token in found.target]
    assert sum(found.hidden) == min(max(round(len(ids) * density), 1), len(ids) - 1)
    assert all(spans.values()) and found.source[0] not in SENTINELS and found.source[-1] in SENTINELS
    assert not any(a in SENTINELS and b in SENTINELS for a, b in zip(found.source, found.source[1:], strict=False))


def test_the_spans_of_t5_by_the_papers_numbers():
    """512 tokens, 15 %, mean 3: 77 tokens in 26 spans, whatever the seed; each token is hidden about equally often."""
    chance, hidden = numpy.random.default_rng(0), numpy.zeros(512)
    for _ in range(400):
        found = span_corruption(range(512), 0.15, 3.0, SENTINELS, chance)
        spans = spans_of(found.target)
        assert len(spans) == 26 and sum(map(len, spans.values())) == 77
        hidden[[token for span in spans.values() for token in span]] += 1
    assert hidden.mean() / 400 == pytest.approx(77 / 512)
    assert abs(hidden[10:-10] / 400 - 77 / 512).max() < 0.08


def test_span_lengths_vary():
    found = span_corruption(range(512), 0.15, 3.0, SENTINELS, numpy.random.default_rng(1))
    assert len({len(span) for span in spans_of(found.target).values()}) > 3


def test_more_spans_than_sentinels_is_one_clear_line():
    with pytest.raises(StepError, match="27 spans but 10 sentinels"):
        span_corruption(range(90), 0.3, 1.0, SENTINELS[:10], numpy.random.default_rng(0))
    with pytest.raises(StepError, match="at least 2 tokens"):
        span_corruption([1], 0.15, 3.0, SENTINELS, numpy.random.default_rng(0))


@settings(max_examples=200, deadline=None)
@given(ids=tokens, density=densities, mean=means, seed=seeds)
def test_text_infilling_hides_what_it_says(ids, density, mean, seed):
    found = text_infilling(ids, density, mean, MASK, numpy.random.default_rng(seed))
    assert found.target == ids
    shown = [token for token, hidden in zip(ids, found.hidden, strict=True) if not hidden]
    assert [token for token in found.source if token != MASK] == shown
    assert sum(found.hidden) == max(round(len(ids) * density), 1)
    assert 1 <= found.source.count(MASK) <= sum(found.hidden)


def test_the_spans_of_bart_by_the_papers_numbers():
    """30 % hidden, one mask per Poisson(3) span; e^-3 = 5 % of the spans are of no token."""
    chance = numpy.random.default_rng(0)
    tokens = masks = hidden = 0
    for _ in range(300):
        found = text_infilling(range(512), 0.3, 3.0, MASK, chance)
        tokens, masks, hidden = tokens + 512, masks + found.source.count(MASK), hidden + sum(found.hidden)
    assert hidden / tokens == pytest.approx(0.3, abs=0.001)
    assert hidden / masks == pytest.approx(3.0, rel=0.03)


def test_a_span_of_no_token_puts_a_mask_where_nothing_is_missing():
    class Given:
        """Draws the lengths 0 and 2, and the order: token, nothing, token, span of two."""

        lengths = iter([0, 2])

        def poisson(self, mean):
            return next(self.lengths)

        def permutation(self, items):
            assert items == [0, 2, -1, -1]
            return numpy.array([-1, 0, -1, 2])

    found = text_infilling([11, 12, 13, 14], 0.5, 3.0, MASK, Given())
    assert found.source == [11, MASK, 12, MASK] and found.hidden == [False, False, True, True]


lines = st.lists(st.sampled_from([1, 2, 3, LINE, END]), min_size=1, max_size=60)


@settings(max_examples=200, deadline=None)
@given(ids=lines, seed=seeds)
def test_lines_are_permuted_within_documents(ids, seed):
    order = line_order(ids, {LINE}, END, numpy.random.default_rng(seed))
    assert sorted(order) == list(range(len(ids)))
    for place, token in enumerate(ids):
        if token == END:
            assert order[place] == place, "the end of a document stays"
    for before, after in itertools.pairwise(order):
        inside = ids[before] not in (LINE, END) and before + 1 < len(ids) and ids[before + 1] != END
        # Within a line the next token follows; only the last, unfinished line of the block has no end.
        assert not inside or after == before + 1


def test_lines_come_in_every_order():
    chance = numpy.random.default_rng(0)
    ids = [1, LINE, 2, LINE, 3, LINE]
    orders = {tuple(line_order(ids, {LINE}, END, chance)) for _ in range(200)}
    assert len(orders) == 6 and (0, 1, 2, 3, 4, 5) in orders


@settings(max_examples=100, deadline=None)
@given(ids=lines, seed=seeds)
def test_permuted_infilling_restores_the_text_as_it_was(ids, seed):
    chance = numpy.random.default_rng(seed)
    order = line_order(ids, {LINE}, END, chance)
    found = permuted_infilling(ids, order, 0.3, 3.0, MASK, chance)
    assert found.target == ids
    shown = [ids[place] for place in order if not found.hidden[place]]
    assert [token for token in found.source if token != MASK] == shown


@pytest.mark.parametrize("corrupt", [span_corruption, text_infilling])
def test_the_same_seed_corrupts_the_same(corrupt):
    rest = SENTINELS if corrupt is span_corruption else MASK
    first, again, other = (corrupt(range(100), 0.3, 3.0, rest, numpy.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first == again != other
