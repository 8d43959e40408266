"""``perplexity``: losses by hand, divergence from a reference in float64, and what is kept per window."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from harness.errors import DataError
from harness.models.causal import TransformersScorer
from harness.models.scoring import token_bytes
from harness.tasks import perplexity
from harness.tasks.perplexity import Perplexity
from harness.training.examples import answers_to_score, text_to_score

TEXT = {"windows": 6, "length": 48}


def exact_log_probs(scorer, windows):
    """log p at every counted position of every window, in float64, one window at a time."""
    found = []
    for window in windows:
        with torch.no_grad():
            logits = scorer.model(input_ids=torch.tensor([window.ids])).logits[0, :-1].double()
        found.append(torch.log_softmax(logits, dim=-1).numpy()[np.array(window.counted)])
    return found


@pytest.fixture
def windows(scorer, tiny_data):
    return text_to_score(tiny_data, "test", scorer.tokenizer, scorer.token_bytes(), 48, 6, None)


@pytest.fixture(scope="module")
def perturbed(llama, open_live, scorer):
    model = open_live(llama)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for value in model.parameters():
            value += 0.01 * torch.randn(value.shape, generator=generator)
    return TransformersScorer(model, scorer.tokenizer, "fp32")


@pytest.fixture
def reference(score, scorer, tmp_path):
    score(Perplexity, scorer, params=TEXT, artefacts=tmp_path / "reference")
    return tmp_path / "reference"


def test_the_loss_by_hand(score, scorer, windows):
    metrics = score(Perplexity, scorer, params=TEXT).metrics
    exact = exact_log_probs(scorer, windows)
    nll = -sum(
        values[np.arange(len(values)), window.ids[1:]].sum() for values, window in zip(exact, windows, strict=True)
    )
    tokens = sum(len(window.ids) - 1 for window in windows)
    size = sum(len(scorer.tokenizer.decode(window.ids[1:]).encode()) for window in windows)
    assert metrics["loss"] == pytest.approx(nll / tokens, rel=1e-6)
    assert metrics["perplexity"] == pytest.approx(math.exp(nll / tokens), rel=1e-6)
    assert metrics["bits_per_byte"] == pytest.approx(nll / math.log(2) / size, rel=1e-6)


@pytest.mark.parametrize("view", ["text", "instructions"])
def test_windows_sum_to_the_metrics(score, scorer, view):
    meter = score(Perplexity, scorer, params={"view": view, "windows": 9, "length": 64})
    items, metrics = meter.scored["perplexity"], meter.metrics
    assert items["window"] == list(range(9))
    nll, tokens, size = (sum(items[name]) for name in ("nll", "tokens", "bytes"))
    assert metrics["loss"] == pytest.approx(nll / tokens)
    assert metrics["perplexity"] == pytest.approx(math.exp(nll / tokens))
    assert metrics["bits_per_byte"] == pytest.approx(nll / math.log(2) / size)
    assert "kl_divergence" not in metrics and "kl" not in items


def test_instructions_count_the_answers_alone(score, scorer, tiny_data):
    meter = score(Perplexity, scorer, params={"view": "instructions", "windows": 5, "length": 128})
    found = answers_to_score(
        tiny_data.view("instructions", "test"), scorer.tokenizer, token_bytes(scorer.tokenizer), 128, 5
    )
    exact = exact_log_probs(scorer, found)
    for index, (scored, values) in enumerate(zip(found, exact, strict=True)):
        targets = [token for token, counts in zip(scored.ids[1:], scored.counted, strict=True) if counts]
        nll = -values[np.arange(len(targets)), targets].sum()
        assert meter.scored["perplexity"]["nll"][index] == pytest.approx(nll, rel=1e-5)
        assert meter.scored["perplexity"]["tokens"][index] == len(targets) < len(scored.ids) - 1
    answers = [len(item["answer"].encode()) for item in tiny_data.view("instructions", "test")[:5]]
    assert meter.scored["perplexity"]["bytes"] == answers


def test_a_model_does_not_diverge_from_itself(score, scorer, reference):
    metrics = score(Perplexity, scorer, params=TEXT, reference=reference).metrics
    assert abs(metrics["kl_divergence"]) < 1e-6 and metrics["kl_divergence_max"] < 1e-6
    assert metrics["top1_agreement"] == 1.0


def test_the_divergence_by_hand(score, scorer, perturbed, reference, windows):
    meter = score(Perplexity, perturbed, params=TEXT, reference=reference)
    ours, theirs = (exact_log_probs(one, windows) for one in (perturbed, scorer))
    by_window = [(np.exp(p) * (p - q)).sum(axis=1) for p, q in zip(theirs, ours, strict=True)]
    kl = np.concatenate(by_window)
    assert kl.mean() > 1e-4, "the perturbation is seen"
    metrics = meter.metrics
    assert metrics["kl_divergence"] == pytest.approx(kl.mean(), rel=1e-3)
    assert metrics["kl_divergence_median"] == pytest.approx(np.median(kl), rel=1e-3)
    assert metrics["kl_divergence_p99"] == pytest.approx(np.percentile(kl, 99), rel=1e-3)
    assert metrics["kl_divergence_max"] == pytest.approx(kl.max(), rel=1e-3)
    agree = np.concatenate([p.argmax(1) == q.argmax(1) for p, q in zip(theirs, ours, strict=True)])
    assert metrics["top1_agreement"] == pytest.approx(agree.mean())
    assert 0.3 < metrics["top1_agreement"] < 1
    items = meter.scored["perplexity"]
    assert items["kl"] == pytest.approx([values.mean() for values in by_window], rel=1e-3)
    assert np.average(items["kl"], weights=items["tokens"]) == pytest.approx(metrics["kl_divergence"])


def test_the_divergence_on_instructions_is_that_of_the_answers(score, scorer, perturbed, tiny_data, tmp_path):
    params = {"view": "instructions", "windows": 5, "length": 128}
    score(Perplexity, scorer, params=params, artefacts=tmp_path / "answers")
    metrics = score(Perplexity, perturbed, params=params, reference=tmp_path / "answers").metrics
    items = tiny_data.view("instructions", "test")
    answers = answers_to_score(items, scorer.tokenizer, scorer.token_bytes(), 128, 5)
    ours, theirs = (np.concatenate(exact_log_probs(one, answers)) for one in (perturbed, scorer))
    assert metrics["kl_divergence"] == pytest.approx((np.exp(theirs) * (theirs - ours)).sum(axis=1).mean(), rel=1e-3)


def test_the_divergence_is_from_the_reference_to_this(score, scorer, perturbed, tmp_path):
    """KL is not symmetric: the reference's probabilities are the weights."""
    for name, one in (("a", scorer), ("b", perturbed)):
        score(Perplexity, one, params=TEXT, artefacts=tmp_path / name)
    there = score(Perplexity, perturbed, params=TEXT, reference=tmp_path / "a").metrics["kl_divergence"]
    back = score(Perplexity, scorer, params=TEXT, reference=tmp_path / "b").metrics["kl_divergence"]
    assert there != pytest.approx(back, rel=1e-3)


def test_a_reference_of_another_shape_is_flagged_and_gives_no_divergence(score, scorer, reference):
    meter = score(Perplexity, scorer, params={**TEXT, "windows": 5}, reference=reference)
    assert len(meter.flags) == 1 and "no KL divergence" in meter.flags[0]
    assert "loss" in meter.metrics
    assert not any(name.startswith(("kl", "top1")) for name in meter.metrics)
    assert set(meter.scored["perplexity"]) == {"window", "document", "nll", "tokens", "bytes"}


def test_a_large_reference_keeps_the_leading_windows_only(score, scorer, perturbed, tmp_path, monkeypatch):
    sizes = [4 * 300 * 47] * 6
    monkeypatch.setattr(perplexity, "REFERENCE_BYTES", sum(sizes[:2]) + 1)
    score(Perplexity, scorer, params=TEXT, artefacts=tmp_path / "reference")
    assert (tmp_path / "reference" / perplexity.REFERENCE_FILE).stat().st_size < sum(sizes[:3])
    meter = score(Perplexity, perturbed, params=TEXT, reference=tmp_path / "reference")
    kl = meter.scored["perplexity"]["kl"]
    assert [value is None for value in kl] == [False, False, True, True, True, True]
    assert meter.observed["kl_positions"] == 2 * 47
    assert meter.metrics["kl_divergence"] == pytest.approx(np.mean(kl[:2]))


def test_many_windows_are_the_same_as_one_group(score, scorer, monkeypatch):
    whole = score(Perplexity, scorer, params=TEXT).metrics
    monkeypatch.setattr(perplexity, "GROUP", 2)
    assert score(Perplexity, scorer, params=TEXT).metrics == pytest.approx(whole, rel=1e-6)


def test_a_window_is_no_longer_than_the_models_context(score, scorer, data_of):
    data = data_of(text=["def f(a):\n    return a + 1\n" * 60])
    meter = score(Perplexity, scorer, params={"windows": 4, "length": 4000}, data=data)
    assert meter.observed["windows"]["length"] == scorer.max_length == 128


def test_compression_moves_the_loss_less_than_it_moves_the_distribution(score, open_it, run, llama, reference):
    """int8 hardly moves the loss; the divergence shows it, and int4 shows more."""
    found = {}
    for name in ("int8", "int4"):
        small = open_it(run(name, llama).checkpoint)
        found[name] = score(Perplexity, small, params=TEXT, reference=reference).metrics["kl_divergence"]
    assert 1e-7 < found["int8"] < found["int4"] / 3


def test_the_split_asked_for_is_scored(score, scorer):
    losses = {
        split: score(Perplexity, scorer, params={**TEXT, "split": split}).metrics["loss"]
        for split in ("validation", "test")
    }
    assert losses["validation"] != losses["test"]


def test_nothing_to_score_is_one_clear_line(score, scorer, data_of):
    with pytest.raises(DataError, match="'given' has nothing to score in view 'text'"):
        score(Perplexity, scorer, data=data_of(text=[]))
