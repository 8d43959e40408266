"""Scores in batches equal scores one by one and transformers' own loss; every token knows its bytes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.models import scoring
from harness.models.causal import TransformersScorer
from harness.models.loading import load_tokenizer

SEQUENCES = [
    [(start * 13 + step * 17) % 297 for step in range(length)] for start, length in enumerate([2, 31, 7, 64, 7, 19])
]


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def model(request, open_live):
    return open_live(request.getfixturevalue(request.param))


@pytest.fixture(scope="module")
def tokenizer(tokenizer_run):
    return load_tokenizer(tokenizer_run.checkpoint)


def test_padding_changes_nothing(model):
    together = scoring.log_probabilities(model, SEQUENCES, "fp32")
    for sequence, found in zip(SEQUENCES, together, strict=True):
        (alone,) = scoring.log_probabilities(model, [sequence], "fp32")
        assert found.shape == (len(sequence) - 1, 300) and found.dtype == np.float32
        assert np.abs(found - alone).max() < 1e-5
        assert np.allclose(np.exp(found).sum(axis=1), 1, atol=1e-5)


def test_small_batches_give_the_same_in_the_order_asked_for(model, monkeypatch):
    together = scoring.target_log_probabilities(model, SEQUENCES, "fp32")
    monkeypatch.setattr(scoring, "BATCH_TOKENS", 64)
    apart = scoring.target_log_probabilities(model, SEQUENCES, "fp32")
    assert all(np.abs(one - other).max() < 1e-5 for one, other in zip(together, apart, strict=True))


def test_target_scores_are_those_of_the_targets(model):
    full = scoring.log_probabilities(model, SEQUENCES, "fp32")
    targets = scoring.target_log_probabilities(model, SEQUENCES, "fp32")
    for sequence, all_of_them, picked in zip(SEQUENCES, full, targets, strict=True):
        assert picked.tolist() == [float(row[token]) for row, token in zip(all_of_them, sequence[1:], strict=True)]


def test_the_loss_is_transformers_own(model):
    for sequence in SEQUENCES:
        ids = torch.tensor([sequence])
        with torch.no_grad():
            theirs = float(model(input_ids=ids, labels=ids).loss)
        (ours,) = scoring.target_log_probabilities(model, [sequence], "fp32")
        assert -ours.mean() == pytest.approx(theirs, abs=1e-5)


def test_mixed_precision_is_really_mixed(model):
    (full,), (mixed,) = (scoring.log_probabilities(model, [SEQUENCES[3]], name) for name in ("fp32", "bf16-mixed"))
    assert 0 < np.abs(full - mixed).max() < 0.3


@given(lengths=st.lists(st.integers(2, 600), max_size=60), vocabulary=st.sampled_from([300, 32_000, 10**9]))
def test_batches_hold_every_sequence_once_and_are_bounded(lengths, vocabulary):
    sequences = [[0] * length for length in lengths]
    found = list(scoring.batches(sequences, vocabulary))
    assert sorted(index for batch in found for index in batch) == list(range(len(lengths)))
    limit = max(1, min(scoring.BATCH_TOKENS, scoring.BYTES_IN_BATCH // (4 * vocabulary)))
    for batch in found:
        assert len(batch) == 1 or len(batch) * max(lengths[index] for index in batch) <= limit


@settings(max_examples=80, deadline=None)
@given(text=st.text())
def test_the_bytes_of_tokens_sum_to_the_bytes_of_the_text(tokenizer, text):
    lengths = scoring.token_bytes(tokenizer)
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert sum(lengths[token] for token in ids) == len(text.encode())


def test_special_tokens_stand_for_no_bytes(tokenizer):
    lengths = scoring.token_bytes(tokenizer)
    assert len(lengths) == len(tokenizer) == 300
    assert lengths[tokenizer.eos_token_id] == lengths[tokenizer.pad_token_id] == 0
    assert min(length for index, length in enumerate(lengths) if index not in tokenizer.all_special_ids) == 1


@pytest.fixture(scope="module")
def scorer(llama, open_live, tokenizer):
    return TransformersScorer(open_live(llama), tokenizer, "fp32")


def test_text_goes_through_the_scorer_and_back(scorer):
    ids = scorer.encode("def add_3(a):\n")
    assert scorer.eos_id not in ids and scorer.decode([*ids, scorer.eos_id]) == "def add_3(a):\n"


def generated(scorer, prompts, new_tokens):
    """The batch's tokens, one list per new token."""
    found = []
    scorer.generate(prompts, new_tokens, found.append)
    return found


@pytest.mark.parametrize("batch", [1, 3])
def test_generation_gives_exactly_the_greedy_tokens(scorer, batch):
    prompts = [[(row * 31 + step * 7) % 290 + 2 for step in range(9)] for row in range(batch)]
    ids = torch.tensor(prompts)
    with torch.no_grad():
        whole = scorer.model.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, min_new_tokens=12, do_sample=False,
            pad_token_id=0,
        )  # fmt: skip
    assert generated(scorer, prompts, 12) == whole[:, 9:].T.tolist()


def test_generation_is_greedy_by_the_models_own_scores(scorer):
    prompt = scorer.encode("def add_3(a):\n")
    tokens = [column[0] for column in generated(scorer, [prompt], 6)]
    (log_probs,) = scorer.log_probabilities([prompt + tokens])
    best = log_probs[len(prompt) - 1 :].argmax(axis=1).tolist()
    assert scorer.eos_id in best or best == tokens


def test_generation_computes_one_token_at_a_time(scorer, monkeypatch):
    """Tokens handed over together at the end would make the later ones look free."""
    calls = []
    forward = scorer.model.forward
    monkeypatch.setattr(scorer.model, "forward", lambda *args, **rest: calls.append(1) or forward(*args, **rest))
    counts = []
    scorer.generate([[5, 6, 7]], 5, lambda tokens: counts.append(len(calls)))
    assert counts == [1, 2, 3, 4, 5]


def test_an_error_while_generating_is_raised_where_it_is_asked_for(scorer):
    with pytest.raises(IndexError):
        scorer.generate([[5, 10_000]], 3, lambda tokens: None)
