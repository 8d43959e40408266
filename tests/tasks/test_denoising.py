"""``denoising``: loss and bits by hand, and the same corruption at every evaluation."""

from __future__ import annotations

import math

import pytest
import torch

from harness.contract import NoParams
from harness.errors import StepError
from harness.models.opening import open_scorer
from harness.tasks.denoising import Denoising
from harness.training.denoising import Rule, corrupted_windows

PARAMS = {"windows": 5, "length": 48}


@pytest.fixture(scope="module")
def scorers(make_job, t5, bart):
    return {name: open_scorer(make_job(given, params=NoParams())) for name, given in (("t5", t5), ("bart", bart))}


@pytest.mark.parametrize(("name", "objective"), [("t5", "span_corruption"), ("bart", "text_infilling")])
def test_by_hand(score, scorers, tiny_data, name, objective):
    """One window at a time in float64, the decoder's inputs made by hand."""
    scorer = scorers[name]
    meter = score(Denoising, scorer, params=PARAMS)
    assert meter.observed["corruption"]["objective"] == objective, "as the tokenizer was prepared for"
    windows = corrupted_windows(tiny_data, "test", scorer.tokenizer, Rule(objective), 48, 5)
    assert len(windows) == 5 and all(len(item.target) <= 48 for item in windows)
    nll = hidden_nll = tokens = size = 0.0
    for item in windows:
        start = scorer.model.config.decoder_start_token_id
        with torch.no_grad():
            logits = scorer.model(
                input_ids=torch.tensor([item.source]), decoder_input_ids=torch.tensor([[start, *item.target[:-1]]])
            ).logits[0]
        picked = torch.log_softmax(logits.double(), -1)[range(len(item.target)), item.target]
        nll -= float(picked.sum())
        hidden_nll -= float(picked[torch.tensor(item.hidden)].sum())
        tokens += len(item.target)
        shown = [token for token, hidden in zip(item.target, item.hidden, strict=True) if hidden]
        size += sum(scorer.token_bytes()[token] for token in shown)
    assert meter.metrics["denoising_loss"] == pytest.approx(nll / tokens, abs=1e-4)
    assert meter.metrics["denoising_bits_per_byte"] == pytest.approx(hidden_nll / math.log(2) / size, abs=1e-4)
    assert sum(meter.scored["denoising"]["nll"]) == pytest.approx(nll, abs=1e-2)
    assert sum(meter.scored["denoising"]["hidden_bytes"]) == size


def test_it_is_the_same_every_time(score, scorers):
    first, again = (score(Denoising, scorers["bart"], params=PARAMS) for _ in range(2))
    assert first.metrics == again.metrics and first.scored == again.scored


def test_a_trained_model_is_better(score, scorers, make_job, pretrained, as_input):
    for name, objective in (("t5", "span_corruption"), ("bart", "text_infilling")):
        fresh = pretrained(name, "seq2seq", objective=objective, learning_rate=0.0, job={"steps": 1}).checkpoint
        before = score(Denoising, open_scorer(make_job(as_input(fresh), params=NoParams()))).metrics
        after = score(Denoising, scorers[name]).metrics
        assert all(after[metric] < 0.8 * before[metric] for metric in Denoising.metrics)


def test_an_objective_that_the_tokenizer_cannot_do_is_one_clear_line(score, scorers):
    with pytest.raises(StepError, match="span corruption needs sentinels"):
        score(Denoising, scorers["bart"], params={"objective": "span_corruption"})
