from __future__ import annotations

import json
import typing
from pathlib import Path

import pytest

from harness.contract import PRECISIONS, Budget
from harness.errors import SuiteError
from harness.plan.suite import load, load_text, to_schema
from harness.plan.suite_file import Precision

FULL = """
name: quick
question: does it work
model: [embedded, small, blank]
data: source
precision: [fp32, bf16-mixed]
hardware: {device: cpu, threads: 2}
seed: [0, 1]
method: [base, "lora(rank=[4, 16])", lora > int8]
params: {lora: {learning_rate: [1e-3, 2e-3]}}
tasks: [perplexity, perplexity(view=instructions), choice]
budget: {steps: 60, batch_size: 4}
limits: {wall_seconds: 100}
baseline: base
exclude: [{uses: int8, precision: fp32}]
models:
  small: {from: "bpe(vocab_size=1024) > clm", architecture: llama, hidden_size: 128, seed: 3, budget: {steps: 5}}
  blank: {architecture: gpt2}
"""


def test_a_whole_suite_is_read():
    suite = load_text(FULL)
    sweep = suite.sweeps[0]
    assert (suite.name, suite.question, suite.baseline) == ("quick", "does it work", "base")
    assert suite.limits == {"wall_seconds": 100, "silence_seconds": 300}
    assert list(sweep.axes) == ["model", "data", "precision", "hardware", "seed", "method"]
    assert len(sweep.axes["method"]) == 7
    assert [task.text for task in sweep.tasks] == ["perplexity", "perplexity(view=instructions)", "choice"]
    assert sweep.budget == Budget(steps=60, batch_size=4)
    small = sweep.axes["model"][1]
    assert small.recipe.seed == 3 and small.recipe.method.text == "bpe(vocab_size=1024) > clm"
    assert small.spec["hidden_size"] == 128


def test_the_name_defaults_to_the_file(tmp_path):
    (tmp_path / "mine.yaml").write_text("method: base\ntasks: choice\n")
    suite = load(tmp_path / "mine.yaml")
    assert (suite.name, len(suite.sweeps[0].tasks)) == ("mine", 1)


def test_sweeps_override_the_suite():
    suite = load_text(
        "method: base\nseed: [0, 1]\ntasks: [choice]\nbudget: {steps: 5}\n"
        "sweeps:\n  - {method: lora, model: embedded}\n  - {seed: 3, budget: {tokens: 9}, tasks: [perplexity]}\n"
    )
    first, second = suite.sweeps
    assert [method.text for method in first.axes["method"]] == ["lora"]
    assert (first.axes["seed"], second.axes["seed"]) == ([0, 1], [3])
    assert (first.budget.steps, second.budget.tokens, second.budget.steps) == (5, 9, None)
    assert [task.text for task in second.tasks] == ["perplexity"]


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("\nseed:", "\nsede:", 8, "unknown key 'sede'; did you mean 'seed'"),
        ("batch_size", "batchsize", 12, "unknown key 'batchsize'; did you mean 'batch_size'"),
        ("hidden_size", "hiden_size", 17, "unknown key 'hiden_size'; did you mean 'hidden_size'"),
        ("threads", "thraeds", 7, "unknown key 'thraeds'; did you mean 'threads'"),
        ("uses:", "use:", 15, "unknown key 'use'; did you mean 'uses'"),
        ("baseline: base", "tune: {params: {}, baseline: base}", 14, "unknown key 'baseline'; known: params, seed"),
        ("bf16-mixed]", "bf16-mix]", 6, "'bf16-mix' is not one of fp32, bf16-mixed, bf16, fp16-mixed"),
        ("[0, 1]", "[0, one]", 8, "seed: 'one' should be"),
        ("[0, 1]", "[]", 8, "'seed' is empty: it gives nothing to measure"),
        ("[0, 1]", "[-1]", 8, "seed: -1 should be greater than or equal to 0"),
        ("lora > int8", "lora > int88", 9, "unknown technique 'int88'; did you mean 'int8'"),
        ("rank=", "rnak=", 9, "'lora' has no parameter 'rnak'; did you mean 'rank'"),
        ("{learning_rate: [", "{learning_rat: [", 10, "'lora' has no parameter 'learning_rat'"),
        ("[1e-3, 2e-3]", "[1e-3, x]", 10, "learning_rate='x' must be a number"),
        ("[1e-3, 2e-3]", "[]", 10, "an empty list gives nothing to measure"),
        ("params: {lora", "params: {loro", 10, "unknown technique 'loro'; did you mean 'lora'"),
        ("view=instructions", "view=instruction", 11, "did you mean 'instructions'"),
        ("choice]", "choise]", 11, "unknown task 'choise'; did you mean 'choice'"),
        ("steps: 60", "steps: 60, tokens: 5", 12, "budget: give tokens, steps or bytes, not tokens and steps"),
        ("steps: 60, ", "", 12, "'lora' trains, so budget: must give steps, tokens or bytes"),
        ("steps: 60, ", "bytes: 60, ", 12, "'lora': a budget of bytes is for techniques that train on running text"),
        ("baseline: base", "baseline: int8", 14, "the baseline 'int8' must be one of the suite's methods"),
        ("small, ", "smol, ", 4, "unknown model 'smol'; did you mean 'small'"),
        ("data: source", "data: sauce", 5, "unknown data 'sauce'; did you mean 'source'"),
        ("device: cpu", "device: gpu", 7, "'gpu' is not one of cpu, cuda; did you mean 'cpu'"),
        ("hardware: {device: cpu, threads: 2}", "hardware: gpu", 7, "unknown device 'gpu'; did you mean 'cpu'"),
        ("architecture: gpt2", "architecture: gpt3", 18, "unknown architecture 'gpt3'; did you mean 'gpt2'"),
        ("{architecture: gpt2}", "{path: ./nowhere}", 18, "model folder './nowhere' does not exist"),
        ("{architecture: gpt2}", "{hub: a, path: b}", 18, "give exactly one of path, hub, random or architecture"),
        ("[{uses: int8, precision: fp32}]", "[{}]", 15, "a rule of exclude names nothing"),
        ("> clm", "> [", 17, "expected a name, found '['"),
        ("blank: {a", "embedded: {a", 18, "'embedded' already means something"),
        ("wall_seconds: 100", "wall_seconds: 0", 13, "should be greater than 0"),
    ],
)
def test_every_mistake_has_its_line(old, new, line, message):
    assert old in FULL
    with pytest.raises(SuiteError) as caught:
        load_text(FULL.replace(old, new), file="s.yaml")
    assert str(caught.value).startswith(f"s.yaml:{line}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "nothing in it"),
        ("- a", "a suite is a mapping"),
        ("tasks: [choice]", "no method is given"),
        ("method: [base]\ndata: ./nothing.txt", "data file './nothing.txt' does not exist"),
        ("method: [base]\nsweeps: []", "'sweeps' is empty"),
        ("method: 3", "method: 3 should be string"),
    ],
)
def test_what_is_no_suite(text, message, tmp_path):
    with pytest.raises(SuiteError) as caught:
        load_text(text, folder=tmp_path)
    assert message in str(caught.value)


def test_paths_are_relative_to_the_suite(tmp_path):
    (tmp_path / "texts.jsonl").write_text('{"content": "a"}\n')
    (tmp_path / "s.yaml").write_text(
        "method: base\ndata: mine\ndata_sets:\n  mine: {path: texts.jsonl, columns: {text: content}}\n"
    )
    source = load(tmp_path / "s.yaml").sweeps[0].axes["data"][0]
    assert source.spec["path"] == str(tmp_path / "texts.jsonl")
    assert source.views == {"text"}
    assert str(tmp_path) not in source.identity


def test_an_empty_data_file_and_wrong_columns_are_named(tmp_path):
    (tmp_path / "empty.txt").write_text("")
    with pytest.raises(SuiteError, match=r"data file '\./empty\.txt' is empty"):
        load_text("method: base\ndata: ./empty.txt", folder=tmp_path)
    (tmp_path / "a.jsonl").write_text("{}\n")
    text = "method: base\ndata_sets:\n  a: {path: a.jsonl, columns: {txt: b}}\n"
    with pytest.raises(SuiteError, match=r"suite\.yaml:3: columns: unknown field 'txt'; did you mean 'text'"):
        load_text(text, folder=tmp_path)


def test_a_parameter_table_may_hold_a_method():
    text = 'method: distill\nparams: {distill: {teacher: ["(lora)", "(int8)"]}}\nbudget: {steps: 5}\n'
    found = load_text(text).sweeps[0].axes["method"]
    assert [method.text for method in found] == ["distill(teacher=(lora))", "distill(teacher=(int8))"]


def test_precisions_are_those_of_the_contract():
    assert typing.get_args(Precision) == PRECISIONS


def test_the_committed_schema_is_current():
    committed = Path(__file__).parents[2] / "suites" / "suite.schema.json"
    assert committed.read_text() == to_schema()
    assert {"method", "sweeps", "models", "budget"} <= set(json.loads(to_schema())["properties"])
