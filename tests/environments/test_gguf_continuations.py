"""Continuations in llama.cpp: many texts in one batch score as each by itself, and a task of lm-eval runs there."""

from __future__ import annotations

import numpy
import pytest

from harness.errors import StepError
from harness.models.causal import open_scorer
from harness.models.loading import load_tokenizer
from harness.models.sources import open_model

pytestmark = pytest.mark.usefixtures("gguf_importable")


@pytest.fixture(scope="module")
def scorers(tmp_path_factory, run, make_job):
    """The embedded model in transformers, and as 32 bits in llama.cpp."""
    from harness.models.gguf.runtime import FILE, GgufScorer

    checkpoint = open_model({"kind": "embedded"}, cache=tmp_path_factory.mktemp("cache"))
    made = run("gguf", checkpoint, type="F32").checkpoint
    return open_scorer(make_job(checkpoint)), GgufScorer(
        made.parts["model"] / FILE, load_tokenizer(checkpoint), threads=1
    )


def pairs_of(scorer):
    question, other = scorer.encode("def add(first, second):\n    return"), scorer.encode("class Reader:\n")
    options = [scorer.encode(text) for text in (" first + second", " first", " second * 2\n", " None")]
    greedy = scorer.complete([question], 5)[0]
    many = [(other[:2], [index % 200 + 20, 7]) for index in range(300)]
    return [*((question, option) for option in options), (question, greedy), ([0], other), (other, [9]), *many]


def test_scores_are_those_of_each_text_alone(scorers):
    plain, scorer = scorers
    pairs = pairs_of(scorer)
    found = scorer.continuations(pairs)
    assert found[4].greedy and not found[-1].greedy
    for (context, continuation), one in list(zip(pairs, found, strict=True))[:40]:
        (alone,) = scorer.target_log_probabilities([[*context, *continuation]])
        assert one.log_probabilities.dtype == numpy.float32
        # Keys and values are kept in 16 bits, and summed in another order.
        assert numpy.abs(one.log_probabilities - alone[len(context) - 1 :]).max() < 1e-2
    for one, other in zip(found, plain.continuations(pairs), strict=True):
        assert numpy.abs(one.log_probabilities - other.log_probabilities).max() < 2e-2
        assert one.log_probabilities.shape == other.log_probabilities.shape


def test_the_ways_of_reading_do_not_disturb_each_other(scorers):
    _, scorer = scorers
    pairs = pairs_of(scorer)[:6]
    prompt = pairs[0][0]
    before, first = scorer.complete([prompt], 8), scorer.continuations(pairs)
    assert scorer.complete([prompt], 8) == before
    again = scorer.continuations(pairs)
    assert all(numpy.array_equal(a.log_probabilities, b.log_probabilities) for a, b in zip(first, again, strict=True))


def test_long_texts(scorers):
    """As long as the model takes; longer ones are one clear line; none at all is nothing."""
    plain, scorer = scorers
    text = (scorer.encode("x = 1\n") * 300)[: scorer.max_length + 1]
    pair = (text[:-3], text[-3:])
    (found,), (expected,) = scorer.continuations([pair]), plain.continuations([pair])
    assert numpy.abs(found.log_probabilities - expected.log_probabilities).max() < 2e-2
    with pytest.raises(StepError, match=f"{scorer.max_length + 1} tokens do not fit the model's context"):
        scorer.continuations([([5, *pair[0]], pair[1])])
    assert scorer.continuations([]) == []


def test_a_text_ends_where_it_is_told(scorers):
    _, scorer = scorers
    prompt = scorer.encode("def add(first, second):\n    return")
    whole = scorer.complete([prompt], 12)[0]
    assert scorer.complete([prompt], 12, lambda ids: len(ids) == 3)[0] == whole[:3]


def test_answers_of_lm_eval_tasks_are_those_of_transformers(scorers, tmp_path, make_job):
    pytest.importorskip("lm_eval", reason="pip install lm-eval")
    from harness.tasks.lm_eval import LmEval

    (tmp_path / "rows.jsonl").write_text(
        "".join(f'{{"text": "def f{n}(a):\\n    return", "right": " a", "wrong": " {n} {n}"}}\n' for n in range(12))
    )
    (tmp_path / "task.yaml").write_text(
        "task: x\ndataset_path: json\ndataset_kwargs: {data_files: {test: rows.jsonl}}\ntest_split: test\n"
        'output_type: multiple_choice\ndoc_to_text: "{{text}}"\ndoc_to_choice: "{{[wrong, right]}}"\n'
        'doc_to_target: 1\ntarget_delimiter: ""\nmetric_list: [{metric: acc}]\n'
    )
    scored = []
    for scorer in scorers:
        task = LmEval(LmEval.Params(task="./task.yaml"))
        job = make_job(None, params=task.params, named=task.named(tmp_path))
        task.score(scorer, job)
        scored.append(job.meter.scored["lm_eval"]["acc"])
    assert scored[0] == scored[1] and len(scored[0]) == 12
