"""A real pre-trained model, stories260K: numbers that are known from elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.contract import NoParams
from harness.errors import StepError
from harness.models.causal import open_scorer
from harness.models.loading import load_tokenizer
from harness.models.scoring import token_bytes
from harness.tasks.perplexity import Perplexity

# Of 60 paragraphs, from a plain loop over transformers' model.
PERPLEXITY = 4.491


class Paragraphs:
    """The first 60 paragraphs of more than 200 characters, each cut to what one window holds."""

    name = "tinystories"
    fingerprint = "tinystories"

    def __init__(self, tokenizer):
        file = Path(__file__).parents[2].parent / "shared" / "data" / "tinystories" / "tinystories.txt"
        if not file.is_file():
            pytest.skip("shared/data/tinystories beside the checkout is not here")
        lines = (line.strip() for line in file.read_text().split("\n"))
        self.texts = [line for line in lines if len(line) > 200][:60]
        self.longest = max(len(ids) for ids in tokenizer(self.texts, add_special_tokens=False)["input_ids"])

    def views(self):
        return ("text",)

    def view(self, name, split):
        return self.texts


@pytest.fixture(scope="module")
def tokenizer(stories):
    return load_tokenizer(stories)


@pytest.fixture(scope="module")
def scorer(stories, make_job):
    return open_scorer(make_job(stories, params=NoParams()))


def test_the_task_gives_the_known_perplexity(scorer, stories, tokenizer, make_job):
    data = Paragraphs(tokenizer)
    job = make_job(stories, data=data)
    assert scorer.bos_id == 1
    Perplexity(Perplexity.Params(windows=60, length=256)).score(scorer, job)
    assert job.meter.observed["windows"] == {"count": 60, "length": 256, "bos": 1, "split": "test"}
    assert job.meter.metrics["perplexity"] == pytest.approx(PERPLEXITY, rel=0.005)


def test_greedy_generation_is_readable(scorer):
    tokens = []
    scorer.generate([[scorer.bos_id]], 40, tokens.extend)
    text = scorer.decode(tokens).strip()
    assert text.startswith("Once upon a time")
    assert len(text.split()) > 15


@settings(max_examples=80, deadline=None)
@given(text=st.text(min_size=1))
def test_the_bytes_of_tokens_sum_to_the_bytes_of_the_text(tokenizer, text):
    """One byte more than the text has: this tokenizer puts a space in front of it."""
    lengths = token_bytes(tokenizer)
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert sum(lengths[token] for token in ids) == len(text.encode()) + 1


def test_every_technique_can_take_it(run, stories):
    made = run("int8", stories)
    assert made.meter.observed["model"]["quantized_layers"] == {"int8": 35}


@pytest.mark.parametrize(("bits", "known"), [(8, 4.487), (4, 5.309), (3, 26.1)])
def test_rounded_rows_give_the_known_perplexities(run, stories, tokenizer, make_job, bits, known):
    made = run("rtn", stories, bits=bits).checkpoint
    job = make_job(made, data=Paragraphs(tokenizer))
    Perplexity(Perplexity.Params(windows=60, length=256)).score(open_scorer(make_job(made, params=NoParams())), job)
    assert job.meter.metrics["perplexity"] == pytest.approx(known, rel=0.01)


def test_a_kernel_that_does_not_fit_its_layers_is_named(run, stories, make_job):
    """172 outputs are no multiple of 32: bitsandbytes would end in an assertion at the first product."""
    made = run("int4", stories).checkpoint
    opened = make_job(made, params=NoParams())
    try:
        open_scorer(opened)
    except StepError as error:
        assert "takes outputs by 32 and inputs by 64: model.layers.0." in str(error)
    else:
        pytest.skip("this processor has no AVX512-BF16, so that bitsandbytes repacks nothing")
