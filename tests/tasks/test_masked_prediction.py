"""``masked_prediction``: accuracies and pseudo-perplexities by hand, and the same masks at every evaluation."""

from __future__ import annotations

import math

import pytest
import torch

from harness.contract import NoParams
from harness.errors import DataError
from harness.models.opening import open_scorer
from harness.tasks.masked_prediction import MaskedPrediction
from harness.training.examples import tokenize

PARAMS = {"windows": 6, "length": 48, "pseudo_windows": 2, "pseudo_length": 16}


@pytest.fixture(scope="module")
def masked_scorer(make_job, bert):
    return open_scorer(make_job(bert, params=NoParams()))


def test_it_is_the_same_every_time(score, masked_scorer):
    first, again = (score(MaskedPrediction, masked_scorer, params=PARAMS) for _ in range(2))
    assert first.metrics == again.metrics and first.scored == again.scored
    assert set(first.metrics) == set(MaskedPrediction.metrics)


def test_a_trained_model_is_better(score, masked_scorer, make_job, pretrained, as_input):
    fresh = pretrained("bert", "mlm", job={"steps": 1}, learning_rate=0.0).checkpoint
    before = score(MaskedPrediction, open_scorer(make_job(as_input(fresh), params=NoParams()))).metrics
    after = score(MaskedPrediction, masked_scorer).metrics
    assert before["pseudo_perplexity"] == pytest.approx(301, rel=0.15), "fresh weights know nothing"
    for name in ("masked_loss", "pseudo_perplexity", "pseudo_bits_per_byte"):
        assert after[name] < 0.8 * before[name]
    assert after["masked_accuracy"] > before["masked_accuracy"]


def test_pseudo_perplexity_by_hand(score, masked_scorer, tiny_data):
    """One token at a time, without batches."""
    meter = score(MaskedPrediction, masked_scorer, params=PARAMS)
    documents = tokenize(masked_scorer.tokenizer, tiny_data.view("text", "test"))
    windows = meter.scored["pseudo_perplexity"]
    assert windows["tokens"] == [16, 16]
    nll = 0.0
    # Two of all windows at equal distances; found here among all pieces of 16 tokens by their sums.
    pieces = [document[at : at + 16] for document in documents for at in range(0, len(document) - 15, 16)]
    sums = {round(_pseudo_nll(masked_scorer, piece), 3): piece for piece in pieces}
    for found, size in zip(windows["nll"], windows["bytes"], strict=True):
        piece = min(sums.items(), key=lambda pair: abs(pair[0] - found))
        assert piece[0] == pytest.approx(found, abs=2e-3)
        assert size == len(masked_scorer.decode(piece[1]).encode())
        nll += found
    assert meter.metrics["pseudo_perplexity"] == pytest.approx(math.exp(nll / 32))
    assert meter.metrics["pseudo_bits_per_byte"] == pytest.approx(nll / math.log(2) / sum(windows["bytes"]))


def _pseudo_nll(scorer, piece):
    total = 0.0
    for at, token in enumerate(piece):
        ids = torch.tensor([[*piece[:at], scorer.mask_id, *piece[at + 1 :]]])
        with torch.no_grad():
            logits = scorer.model(input_ids=ids).logits[0, at].double()
        total -= float(torch.log_softmax(logits, -1)[token])
    return total


def test_items_sum_to_the_metrics(score, masked_scorer):
    meter = score(MaskedPrediction, masked_scorer, params=PARAMS)
    items = meter.scored["masked_prediction"]
    assert items["window"] == list(range(len(items["window"])))
    assert meter.metrics["masked_accuracy"] == sum(items["correct"]) / sum(items["chosen"])
    assert meter.metrics["masked_loss"] == pytest.approx(sum(items["nll"]) / sum(items["chosen"]))
    assert meter.observed["masked"]["chosen"] == sum(items["chosen"])
    assert meter.observed["pseudo"]["tokens"] == 32


def test_a_tokenizer_without_a_mask_is_one_clear_line(score, make_job, bert, tokenizer_run):
    parts = {**bert.parts, **tokenizer_run.checkpoint.parts}
    scorer = open_scorer(make_job(type(bert)(kind="masked", parts=parts), params=NoParams()))
    with pytest.raises(DataError, match="the tokenizer has no mask token"):
        score(MaskedPrediction, scorer)
