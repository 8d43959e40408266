"""BLEU and chrF of ``text_generation`` against sacrebleu's command line, in a process of its own on the same texts."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from harness.contract import NoParams
from harness.models.causal import open_scorer
from harness.tasks.text_generation import TextGeneration

pytest.importorskip("sacrebleu", reason="sacrebleu is not installed")


class Pairs:
    """Sources and targets that a model half knows: some words in common, other lengths, letters beyond ASCII."""

    name = "pairs"
    fingerprint = "pairs"
    texts = (
        ("def add_1(a):", "add 1 to a, one time"), ("def scale_3(a):", "scale the value by 3, two times over"),
        ("def shift_2(a):", "shift 2"), ("def raise_4(a):", "à la puissance quatre: a ** 4"), ("return a", "a"),
    )  # fmt: skip

    def view(self, name, split):
        return [{"source": source, "target": target} for source, target in self.texts]


class Known:
    """A scorer whose texts are given: what is compared is the arithmetic."""

    reads_apart, max_length, eos_id = False, 128, None
    said = ("add 1 to a one time", "scale value by 3 two times", "shift 2", "a la puissance de quatre: a ** 4", "b")

    def encode(self, text):
        return [1]

    def complete(self, prompts, new_tokens):
        return [[number] for number in range(len(prompts))]

    def decode(self, ids):
        return self.said[ids[0]]


def by_command(folder, hypotheses, references, metric):
    """The score that ``sacrebleu REFERENCES -i HYPOTHESES`` gives, and the signature beside it."""
    for name, texts in (("said.txt", hypotheses), ("right.txt", references)):
        (folder / name).write_text("".join(text.replace("\n", " ") + "\n" for text in texts), encoding="utf-8")
    command = [sys.executable, "-m", "sacrebleu", "right.txt", "-i", "said.txt", "-m", metric, "-w", "6"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    return found["score"], found["signature"]


@pytest.mark.parametrize("metric", ["bleu", "chrf"])
def test_the_scores_of_given_texts(make_job, tmp_path, metric):
    job = make_job(None, data=Pairs())
    TextGeneration(TextGeneration.Params(items=5)).score(Known(), job)
    score, signature = by_command(tmp_path, Known.said, [target for _, target in Pairs.texts], metric)
    assert 10 < score < 90
    assert job.meter.metrics[metric] == pytest.approx(score, abs=1e-5)
    assert job.meter.observed["signatures"][metric] == signature


@pytest.mark.parametrize("metric", ["bleu", "chrf"])
def test_the_scores_of_generated_texts(make_job, llama, tmp_path, metric):
    """From the files that a user would write of what a model says to what sacrebleu makes of them."""
    scorer = open_scorer(make_job(llama, params=NoParams()))
    scorer.reads_apart = False
    decode, said = scorer.decode, []
    scorer.decode = lambda ids: said.append(decode(ids)) or said[-1]
    job = make_job(llama, data=Pairs())
    TextGeneration(TextGeneration.Params(items=5, new_tokens=24)).score(scorer, job)
    texts = [text.strip() for text in said]
    assert len(texts) == 5 and len(set(texts)) > 1
    score, _ = by_command(tmp_path, texts, [target for _, target in Pairs.texts], metric)
    assert job.meter.metrics[metric] == pytest.approx(score, abs=1e-5)
