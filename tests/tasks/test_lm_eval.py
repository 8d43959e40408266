"""``lm_eval``: the answers are those of lm-eval's own ``hf`` model under the same rules, item by item."""

from __future__ import annotations

import json
import math
import re

import pytest

from harness.contract import Job
from harness.data.task_results import columns
from harness.errors import DataError, StepError
from harness.models.continuations import score as plain_score
from harness.models.sources import open_model
from harness.tasks.lm_eval import METRICS, LmEval

pytest.importorskip("lm_eval", reason="pip install lm-eval")

ROWS = [
    {"question": f"def {name}(self, {argument}):\n    return", "right": f" self.{argument}", "wrong": f" {argument}+1",
     "text": f"class {name.title()}:\n    def {name}(self, {argument}):\n        return self.{argument}\n\n" * 3}
    for name in ("value", "name", "close", "read", "items", "keys") for argument in ("other", "key", "size")
]  # fmt: skip
CHOICE = """
task: choose
dataset_path: json
dataset_kwargs: {data_files: {test: rows.jsonl}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{question}}"
doc_to_choice: "{{[wrong, right, question]}}"
doc_to_target: 1
target_delimiter: ""
metric_list: [{metric: acc}, {metric: acc_norm}, {metric: f1}]
"""
PAIRS = """
include: choice.yaml
task: pairs
doc_to_text: ""
doc_to_choice: "{{[text, question]}}"
doc_to_target: 0
target_delimiter: " "
metric_list: [{metric: acc}]
"""
ROLLING = """
task: rolling
dataset_path: json
dataset_kwargs: {data_files: {test: rows.jsonl}}
test_split: test
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{text}}"
metric_list: [{metric: word_perplexity}, {metric: byte_perplexity}, {metric: bits_per_byte}]
"""
GENERATION = """
task: answers
dataset_path: json
dataset_kwargs: {data_files: {test: rows.jsonl}}
test_split: test
output_type: generate_until
doc_to_text: "{{question}}"
doc_to_target: "{{right}}"
generation_kwargs: {until: ["\\n", ")"], max_gen_toks: 24}
metric_list: [{metric: exact_match, ignore_punctuation: true}]
"""
FEW = "num_fewshot: 2\nfewshot_split: test\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("tasks")
    (made / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    for name, text in (("choice", CHOICE), ("pairs", PAIRS), ("rolling", ROLLING), ("generation", GENERATION)):
        (made / f"{name}.yaml").write_text(text)
    return made


@pytest.fixture(scope="module")
def embedded(tmp_path_factory):
    return open_model({"kind": "embedded"}, cache=tmp_path_factory.mktemp("cache"))


@pytest.fixture(params=["embedded", "stories"])
def opened(request, open_it):
    """The embedded model, and one whose tokenizer puts a beginning of text and a blank in front."""
    return open_it(request.getfixturevalue(request.param))


@pytest.fixture
def ask(make_job, embedded, folder):
    """Score a task by its parameters: ``ask(scorer, task="./choice.yaml", ...)`` gives the meter."""

    def perform(scorer, *, where=folder, **params) -> Job:
        task = LmEval(LmEval.Params(**params))
        job = make_job(embedded, params=task.params, named=task.named(where))
        task.score(scorer, job)
        return job.meter

    return perform


@pytest.fixture
def theirs(folder, tmp_path):
    """Score by lm-eval itself, with its own model around the same weights: samples by item, and results."""

    def perform(scorer, task, shots=None, **options):
        from lm_eval import simple_evaluate
        from lm_eval.models.huggingface import HFLM
        from lm_eval.tasks import TaskManager

        model = HFLM(pretrained=scorer.model, tokenizer=scorer.tokenizer, backend="causal", batch_size=4, **options)
        text = (folder / f"{task}.yaml").read_text()
        text = text.replace("include: choice.yaml", CHOICE.split("doc_to_text")[0].replace("task: choose", ""))
        file = tmp_path / f"{task}.yaml"
        file.write_text(text.replace("rows.jsonl", str(folder / "rows.jsonl")))
        found = simple_evaluate(
            model, tasks=[str(file)], task_manager=TaskManager(include_defaults=False), num_fewshot=shots,
            bootstrap_iters=0, log_samples=True,
        )  # fmt: skip
        (name,) = found["results"]
        return sorted(found["samples"][name], key=lambda one: one["doc_id"]), found["results"][name]

    return perform


@pytest.fixture(autouse=True)
def _caches_of_their_own(tmp_path, monkeypatch):
    """What ``datasets`` keeps for lm-eval's own runs goes away with the test."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets")


@pytest.fixture
def answered(monkeypatch):
    """Answers that our model gives from now on: ``answered("loglikelihood")``."""
    from harness.models.answering import ScorerModel

    def watch(kind):
        seen, plain = [], getattr(ScorerModel, kind)

        def watched(self, requests, disable_tqdm=False):
            found = plain(self, requests)
            seen.extend(found)
            return found

        monkeypatch.setattr(ScorerModel, kind, watched)
        return seen

    return watch


@pytest.mark.parametrize(("task", "shots"), [("choice", None), ("choice", 3), ("pairs", None)])
def test_choices_are_lm_evals_own(opened, ask, theirs, answered, task, shots):
    seen = answered("loglikelihood")
    meter = ask(opened, task=f"./{task}.yaml", shots=shots)
    samples, results = theirs(opened, task, shots)
    expected = [answer[0] for sample in samples for answer in sample["resps"]]
    assert [one for one, _ in seen] == pytest.approx([float(one) for one, _ in expected], rel=3e-7, abs=1e-4)
    assert [greedy for _, greedy in seen] == [greedy for _, greedy in expected]
    for name in [key.removesuffix(",none") for key in results if key.endswith(",none") and "stderr" not in key]:
        assert meter.metrics[METRICS[name]] == pytest.approx(results[f"{name},none"], abs=1e-6)
        if name != "f1":
            assert meter.scored["lm_eval"][name] == [sample[name] for sample in samples]
    assert "f1" not in meter.scored["lm_eval"] and meter.scored["lm_eval"]["item"] == list(range(len(ROWS)))


def test_whole_texts_are_lm_evals_own(opened, ask, theirs):
    meter = ask(opened, task="./rolling.yaml")
    samples, results = theirs(opened, "rolling")
    likelihoods = [sample["bits_per_byte"][0] for sample in samples]
    assert [-one for one in meter.scored["lm_eval"]["nll"]] == pytest.approx(likelihoods, rel=1e-5)
    assert meter.scored["lm_eval"]["bytes"] == [len(row["text"].encode()) for row in ROWS]
    for name in ("word_perplexity", "byte_perplexity", "bits_per_byte"):
        assert meter.metrics[METRICS[name]] == pytest.approx(results[f"{name},none"], rel=1e-5)


@pytest.mark.slow
def test_texts_beyond_the_context_are_cut_where_lm_eval_cuts_them(opened, ask, theirs, monkeypatch):
    monkeypatch.setattr(opened, "max_length", 32)
    meter = ask(opened, task="./rolling.yaml")
    samples, _ = theirs(opened, "rolling", max_length=32)
    likelihoods = [sample["bits_per_byte"][0] for sample in samples]
    assert [-one for one in meter.scored["lm_eval"]["nll"]] == pytest.approx(likelihoods, rel=1e-5)
    meter = ask(opened, task="./choice.yaml", shots=3)
    samples, _ = theirs(opened, "choice", 3, max_length=32)
    assert meter.observed["lm_eval"]["contexts_truncated"] > 0
    assert meter.scored["lm_eval"]["acc"] == [sample["acc"] for sample in samples]


def test_generated_answers_are_lm_evals_own(opened, ask, theirs, answered):
    seen = answered("generate_until")
    meter = ask(opened, task="./generation.yaml")
    samples, results = theirs(opened, "generation")
    assert seen == [sample["resps"][0][0] for sample in samples] and len(set(seen)) > 1
    assert meter.metrics["lm_eval_exact_match"] == results["exact_match,none"]
    assert meter.scored["lm_eval"]["exact_match"] == [sample["exact_match"] for sample in samples]


def test_the_second_beginning_of_text_is_a_rule(open_it, stories, ask, theirs):
    """lm-eval's default scores the tokenizer's own beginning as a token of the text; told otherwise it agrees."""
    scorer = open_it(stories)
    two, one = (ask(scorer, task="./rolling.yaml", rules=rules) for rules in ("lm_eval", "harness"))
    samples, _ = theirs(scorer, "rolling", add_bos_token=False)
    assert [-nll for nll in one.scored["lm_eval"]["nll"]] == pytest.approx(
        [sample["bits_per_byte"][0] for sample in samples], rel=1e-5
    )
    start = scorer.tokenizer.bos_token_id
    (alone,) = plain_score(scorer.model, [([start], [start])], "fp32")
    extra = [a - b for a, b in zip(two.scored["lm_eval"]["nll"], one.scored["lm_eval"]["nll"], strict=True)]
    assert min(extra) > 1 and -float(alone.log_probabilities[0]) > 1
    assert two.metrics["lm_eval_bits_per_byte"] > 1.01 * one.metrics["lm_eval_bits_per_byte"]


def test_a_tokenizer_without_a_beginning_has_one_rule(open_it, embedded, ask):
    scorer = open_it(embedded)
    assert scorer.bos_id is None
    one, other = (ask(scorer, task="./rolling.yaml", rules=rules).scored for rules in ("lm_eval", "harness"))
    assert one == other


def test_a_delimiter_after_nothing_is_a_rule(open_it, stories, ask, theirs, folder):
    """``harness`` scores the options alone, as lm-eval does where the file says that nothing separates them."""
    scorer = open_it(stories)
    (folder / "bare.yaml").write_text(PAIRS.replace('target_delimiter: " "', 'target_delimiter: ""'))
    plain = ask(scorer, task="./pairs.yaml", rules="harness")
    samples, _ = theirs(scorer, "bare")
    assert plain.scored["lm_eval"]["acc"] == [sample["acc"] for sample in samples]
    assert scorer.encode(" the") != scorer.encode("the"), "this tokenizer makes a token of the delimiter"
    from harness.models.answering import ScorerModel

    asked = [("", " once upon a time"), ("Once upon", " a time")]
    pairs = [ScorerModel(scorer, rules, " ")._pairs(asked) for rules in ("lm_eval", "harness")]
    assert pairs[0][0] != pairs[1][0] and pairs[0][1] == pairs[1][1], "after a context the delimiter stays"


def test_the_choices_of_a_filter_and_a_metric(open_it, embedded, ask, folder):
    text = GENERATION + (
        "filter_list:\n"
        "  - {name: first, filter: [{function: regex, regex_pattern: '(\\w+)'}, {function: take_first}]}\n"
        "  - {name: none, filter: [{function: take_first}]}\n"
    )
    (folder / "filtered.yaml").write_text(text)
    scorer = open_it(embedded)
    plain = ask(scorer, task="./generation.yaml").scored
    assert ask(scorer, task="./filtered.yaml", filter="none").scored == plain
    assert ask(scorer, task="./filtered.yaml").observed["items"]["scored"] == len(ROWS)
    with pytest.raises(StepError, match=r"the task answers has no filter 'other' \(first, none\)"):
        ask(scorer, task="./filtered.yaml", filter="other")
    assert set(ask(scorer, task="./choice.yaml", metric="acc", limit=5).metrics) == {"lm_eval_acc"}
    with pytest.raises(StepError, match=r"the task choose has no metric 'mcc' that can be reported; choose one with"):
        ask(scorer, task="./choice.yaml", metric="mcc")


def test_templates_run_in_a_sandbox(open_it, embedded, ask, folder, tmp_path):
    trace = tmp_path / "ran"
    attack = f"{{{{ cycler.__init__.__globals__.os.system('touch {trace}') }}}}"
    (folder / "attack.yaml").write_text(ROLLING.replace('"{{text}}"', json.dumps(attack)))
    with pytest.raises(DataError, match=r"lm-eval cannot make the task attack\.yaml: SecurityError: access to attr"):
        ask(open_it(embedded), task="./attack.yaml")
    assert not trace.exists()


def test_functions_run_where_they_are_allowed(open_it, embedded, ask, folder):
    (folder / "code.py").write_text("def shorter(rows):\n    return rows.select(range(4))\n")
    (folder / "coded.yaml").write_text(CHOICE + "process_docs: !function code.shorter\n")
    scorer = open_it(embedded)
    with pytest.raises(DataError, match="which is run only with functions=true"):
        ask(scorer, task="./coded.yaml")
    assert ask(scorer, task="./coded.yaml", functions=True).observed["items"]["scored"] == 4


def test_a_file_that_changed_since_it_was_planned_is_not_scored(open_it, embedded, make_job, tmp_path, folder):
    for name in ("choice.yaml", "rows.jsonl"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    task = LmEval(LmEval.Params(task="./choice.yaml"))
    named = task.named(tmp_path)
    (tmp_path / "rows.jsonl").write_text(json.dumps(ROWS[0]) + "\n")
    with pytest.raises(StepError, match=r"choice\.yaml or its data changed since this was planned: plan anew"):
        task.score(open_it(embedded), make_job(embedded, params=task.params, named=named))


@pytest.mark.slow
def test_names_of_lm_eval(open_it, embedded, ask, monkeypatch):
    """Its files are searched, not indexed; without a network and without a copy the reason is one line."""
    from harness.data.task_package import _file_of

    assert _file_of("arc_easy").name == "arc_easy.yaml" and _file_of("hellaswag").parent.name == "hellaswag"
    with pytest.raises(DataError, match="'mmlu' is a group of lm-eval's tasks; name its tasks one by one"):
        _file_of("mmlu")
    with pytest.raises(DataError, match=r"lm-eval has no task 'hellaswg'; did you mean 'hellaswag'\?; a file is named"):
        _file_of("hellaswg")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(DataError, match=r"^lm-eval cannot make the task arc_easy: .*must be in the hub's cache"):
        ask(open_it(embedded), task="arc_easy")


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({}, "'lm_eval' needs the parameter 'task'"),
        ({"task": "a b"}, "'a b' is no name and no file like ./task.yaml"),
        ({"task": "./none.yaml"}, "task file 'none.yaml' does not exist"),
        ({"task": "./nul\0.yaml"}, "no file can be named|cannot be read"),
        ({"task": "x", "metric": "accc"}, re.escape("unknown metric 'accc'; did you mean 'acc'?")),
    ],
)
def test_what_is_wrong_is_said_while_planning(params, said, tmp_path):
    with pytest.raises(DataError, match=said):
        LmEval(LmEval.Params(**params)).named(tmp_path)


def test_columns_of_items():
    first = {"acc": 1.0, "bits_per_byte": (-3.0, 4), "f1": (1, 0)}
    items = {0: first, 5: {"acc": 0.0, "bits_per_byte": (-1.0, 2), "f1": (0, 0)}}
    assert columns(items, ["acc", "bits_per_byte", "f1"]) == {
        "item": [0, 5], "acc": [1.0, 0.0], "nll": [3.0, 1.0], "bytes": [4, 2],
    }  # fmt: skip
    assert math.isclose(sum(columns(items, ["bits_per_byte"])["nll"]), 4.0)
