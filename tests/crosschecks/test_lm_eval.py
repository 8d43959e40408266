"""Perplexity and choice accuracy of the embedded model against lm-eval's own model and its own arithmetic."""

from __future__ import annotations

import json
import math
import random

import pytest
from crosschecks.trainings import EMBEDDED, texts

from harness.contract import Checkpoint, NoParams
from harness.models.causal import open_scorer
from harness.tasks.choice import Choice
from harness.tasks.perplexity import Perplexity

pytestmark = pytest.mark.quiet

pytest.importorskip("lm_eval", reason="pip install lm-eval")

NAMES = ("reader", "total", "names", "values", "parts", "width", "level", "state", "title", "count")


class Given:
    """Exactly these texts or items."""

    name = fingerprint = "given"

    def __init__(self, items):
        self.items = items

    def view(self, name, split):
        return self.items


@pytest.fixture(scope="module")
def scorer(make_job):
    return open_scorer(make_job(Checkpoint("causal", {"model": EMBEDDED, "tokenizer": EMBEDDED}), params=NoParams()))


@pytest.fixture(scope="module")
def theirs(scorer):
    """lm-eval's own model around the same weights."""
    from lm_eval.models.huggingface import HFLM

    return HFLM(pretrained=scorer.model, tokenizer=scorer.tokenizer, backend="causal", batch_size=8)


def asked(kind, *arguments):
    from lm_eval.api.instance import Instance

    return [Instance(kind, {}, each, 0) for each in arguments]


def test_perplexity_is_lm_evals_rolling_log_likelihood(scorer, make_job):
    """Ours begins with the second token of a text; told that token to begin with, lm-eval scores the same others."""
    from lm_eval.models.huggingface import HFLM

    rests = [text[start : start + 500] for text in texts() for start in (0, 5000)]
    rests = [rest for rest in rests if scorer.encode(f"\t{rest}") == scorer.encode("\t") + scorer.encode(rest)]
    assert len(rests) > 6
    job = make_job(None, data=Given([f"\t{rest}" for rest in rests]))
    Perplexity(Perplexity.Params(windows=len(rests), length=400)).score(scorer, job)
    found = job.meter.scored["perplexity"]
    assert found["document"] == list(range(len(rests))), "each text is one window"
    theirs = HFLM(
        pretrained=scorer.model, tokenizer=scorer.tokenizer, backend="causal", batch_size=8,
        prefix_token_id=scorer.encode("\t")[0],
    )  # fmt: skip
    rolling = theirs.loglikelihood_rolling(asked("loglikelihood_rolling", *((rest,) for rest in rests)))
    assert found["nll"] == pytest.approx([-one for one in rolling], rel=1e-5)
    tokens = sum(len(scorer.encode(rest)) for rest in rests)
    assert job.meter.metrics["perplexity"] == pytest.approx(math.exp(-sum(rolling) / tokens), rel=1e-5)


def choices(scorer):
    """Which body belongs to a function: those whose prompt and options are the same tokens together and apart."""
    chance, found = random.Random(5), []
    for number in range(80):
        name, other = chance.sample(NAMES, 2)
        prompt = f"def set_{name}(self, {name}):\n    self.count = {number}\n    self."
        options = [f"{one} = {two}\n" for one, two in ((name, name), (other, name), (name, other), (other, "None"))]
        label = chance.randrange(4)
        options[0], options[label] = options[label], options[0]
        apart = [scorer.encode(prompt) + scorer.encode(option) for option in options]
        if apart == [scorer.encode(prompt + option) for option in options]:
            found.append({"prompt": prompt, "options": options, "label": label})
    return found


def test_choice_accuracy_is_lm_evals(scorer, theirs, make_job, tmp_path, monkeypatch):
    """``choice_accuracy`` is lm-eval's acc_mutual_info, ``choice_accuracy_sum`` its acc, after an end of text."""
    import datasets
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets")
    items = choices(scorer)
    assert len(items) > 30
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
    start = scorer.tokenizer.eos_token
    (tmp_path / "task.yaml").write_text(json.dumps({
        "task": "bodies", "dataset_path": "json", "test_split": "test",
        "dataset_kwargs": {"data_files": {"test": str(tmp_path / "rows.jsonl")}}, "output_type": "multiple_choice",
        "doc_to_text": start + "{{prompt}}", "doc_to_choice": "{{options}}", "doc_to_target": "{{label}}",
        "target_delimiter": "", "metric_list": [{"metric": "acc"}, {"metric": "acc_mutual_info"}],
    }))  # fmt: skip
    result = simple_evaluate(
        theirs, tasks=[str(tmp_path / "task.yaml")], task_manager=TaskManager(include_defaults=False),
        bootstrap_iters=0, log_samples=True,
    )  # fmt: skip
    samples = sorted(result["samples"]["bodies"], key=lambda one: one["doc_id"])
    job = make_job(None, data=Given(items))
    Choice(Choice.Params()).score(scorer, job)
    assert job.meter.scored["choice"]["correct"] == [int(one["acc_mutual_info"]) for one in samples]
    assert job.meter.scored["choice"]["correct_sum"] == [int(one["acc"]) for one in samples]
    assert 0.2 < job.meter.metrics["choice_accuracy"] < 1
