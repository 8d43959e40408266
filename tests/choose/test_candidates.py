"""Candidates against the raw records, and the command on committed suites; tests/browser moves the page's form."""

from __future__ import annotations

import json
import statistics
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.analyse.choose import Constraints, choose
from harness.cli.commands import app
from harness.errors import HarnessError, UsageError
from harness.report.build import content_of
from harness.report.candidates import candidates_of, question_of, unmeasured
from harness.report.decision import compose_decision
from harness.report.pages import html, markdown

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "results"


@pytest.fixture(scope="module")
def quick():
    content = content_of(RESULTS, "quick")
    question = question_of(content, model=None, hardware=None, quality=None)
    return content, question, candidates_of(content, question)


def records(suite):
    plans = sorted((RESULTS / suite).glob("*/plan.json"))
    paths = [path for path in sorted(plans[-1].parent.glob("*.json")) if path.name != "plan.json"]
    found = [json.loads(path.read_text()) for path in paths]
    return [one for one in found if one["status"] == "done"]


def scored(suite, method, precision, task):
    wanted = {"method": method, "precision": precision, "task": task}
    return next(one for one in records(suite) if wanted.items() <= one["coordinates"].items())


def test_a_candidate_is_what_its_records_say(quick):
    _, question, candidates = quick
    assert question.task == "perplexity" and question.metric == "bits_per_byte"
    one = next(candidate for candidate in candidates if candidate.id == "int4 @ fp32")
    mine = scored("quick", "int4", "fp32", "perplexity")["metrics"]["bits_per_byte"]
    best = scored("quick", "base", "fp32", "perplexity")["metrics"]["bits_per_byte"]
    assert question.best_value == best
    assert one.loss.value == pytest.approx(mine / best - 1)
    assert 0 < one.loss.low < one.loss.value < one.loss.high, "paired over windows"
    made = {"method": "int4", "precision": "fp32"}
    compressing = [record for record in records("quick") if record["operation"] == "compress"]
    compressed = next(record for record in compressing if made.items() <= record["coordinates"].items())
    assert one.seconds.value == pytest.approx(compressed["wall_seconds"], rel=1e-3)
    speed = scored("quick", "int4", "fp32", "generation_speed")["metrics"]
    assert one.speed.value == speed["decode_tokens_per_second"]
    peaks = [compressed["metrics"]["peak_memory_bytes"], speed["peak_memory_bytes"]]
    assert one.memory.value == pytest.approx(max(peaks), rel=0.02)


def test_the_best_loses_nothing_and_base_costs_nothing(quick):
    _, question, candidates = quick
    best = [one for one in candidates if one.loss.value == 0]
    assert [one.id for one in best] == [f"{question.best.key[0]} @ {question.best.key[3]}"]
    assert next(one for one in candidates if one.id == "base @ fp32").seconds.value == 0


def test_ties_of_trained_methods_hold_the_spread_over_seeds():
    content = content_of(RESULTS, "finetuning")
    question = question_of(content, model=None, hardware=None, quality="perplexity(view=instructions)")
    found = {one.method: one for one in candidates_of(content, question)}
    best = found[str(question.best.key[0])]
    other = found["full_finetune"]
    low, high = other.loss.ends
    assert low < 0 < high and other.id in best.ties, "two seeds cannot tell them apart"
    task = "perplexity(view=instructions)"
    of_task = [one for one in records("finetuning") if one["coordinates"]["task"] == task]
    means = {
        method: statistics.mean(one["metrics"]["bits_per_byte"] for one in of_task
                                if one["coordinates"]["technique"] == method)
        for method in ("full_finetune", best.method)
    }  # fmt: skip
    assert other.loss.value == pytest.approx(means["full_finetune"] / means[best.method] - 1, abs=1e-3)


def test_another_models_memory_is_predicted_and_said_to_be(quick):
    content, question, _ = quick
    asked = []

    def predict(method, precision):
        asked.append((method, precision))
        return None if "qlora" in method else 5e9

    found = candidates_of(content, question, predict)
    assert all(one.predicted for one in found)
    assert {one.memory.value for one in found if one.memory} == {5e9}
    assert [one for one in found if "qlora" in one.method and one.memory is None]
    assert any("learning_rate" in method for method, _ in asked), "the whole method is predicted, not its short name"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--memory", "8 parsecs"], "'8 parsecs' is no amount of memory"),
        (["--memory=-1GB"], "'-1GB' is no amount of memory"),
        (["--max-quality-loss", "two"], "'two' is no share of quality: write a percentage like 2%"),
        (["--max-quality-loss", "200%"], "'200%' is no share of quality"),
        (["--time", "0h"], "'0h' is no duration: write a number and a unit, like 90s, 20min or 1h"),
        (["--time", "5 fortnights"], "is no duration"),
        (["--goal", "sped"], "unknown goal 'sped'; did you mean 'speed'?"),
        (["--model", "gpt5"], "this suite has no table of gpt5: it has embedded on cpu"),
        (["--hardware", "cuda"], "this suite has no table of cuda"),
        (["--quality", "perplexety"], "no quality 'perplexety'; did you mean 'perplexity'?"),
        (["--extrapolate-to", "llama-8b"], "unknown model 'llama-8b'; did you mean 'llama-"),
        (["--extrapolate-to", "bert-base"], "nothing can be extrapolated to bert-base"),
    ],
)
def test_wrong_use_is_one_line(options, words):
    done = CliRunner().invoke(app, ["choose", "quick", "--results", str(RESULTS), *options])
    assert isinstance(done.exception, HarnessError) and words in str(done.exception)
    assert "\n" not in str(done.exception)


def test_a_suite_without_quality_says_what_to_add():
    with pytest.raises(UsageError, match="nothing in this suite measures the quality of"):
        question_of(content_of(RESULTS, "claims"), model="wide", hardware=None, quality=None)


def test_the_command_answers_in_text_and_json():
    asked = ["choose", "quick", "--results", str(RESULTS), "--max-quality-loss", "1%", "--goal", "memory"]
    text = CliRunner().invoke(app, asked)
    told = json.loads(CliRunner().invoke(app, [*asked, "--json"]).stdout)
    assert text.exit_code == 0 and f"  1  {told['winner']}" in text.stdout
    assert "what alone would change the answer:" in text.stdout and "reproduce: harness run quick" in text.stdout
    assert all(one["loss"][2] <= 0.01 for one in told["ranked"])
    nothing = CliRunner().invoke(app, ["choose", "quick", "--results", str(RESULTS), "--memory", "1MB"])
    assert nothing.exit_code == 1
    assert "nothing meets these constraints; the nearest misses:" in nothing.stdout


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (["finetuning", "--goal", "speed"], "nothing meets the goal: no speed was measured; the nearest misses:"),
        (["finetuning", "--goal", "speed"], "no: speed was not measured"),
        (["finetuning_views", "--memory", "840MB"], "no: quality loss was not measured"),
        (["finetuning", "--memory", "1.55GB"], "undecided: memory up to 1.6"),
    ],
)
def test_every_kind_of_miss_is_said(asked, words):
    done = CliRunner().invoke(app, ["choose", *asked, "--results", str(RESULTS)])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    assert words in done.stdout


def test_what_failed_is_told_and_is_no_candidate(quick, monkeypatch):
    content, question, candidates = quick
    broken = [replace(one, status="failed", reason="no room") if one.key == question.best.key else one
              for one in content.outcomes]  # fmt: skip
    content.groups(question.which)
    monkeypatch.setitem(content.__dict__, "outcomes", broken)
    monkeypatch.delitem(content.__dict__, "_groups")  # it is made of them once
    again = question_of(content, model=None, hardware=None, quality=None)
    assert again.best.key != question.best.key and len(candidates_of(content, again)) == len(candidates) - 1
    name = f"{question.best.key[0]} @ {question.best.key[3]}"
    assert unmeasured(content, again) == {name: "failed: no room"}
    made = choose(candidates_of(content, again), Constraints(), "quality")
    assert "failed: no room" in markdown(compose_decision(content, again, candidates, made, None))


def test_the_page_escapes_what_it_shows(quick):
    content, question, candidates = quick
    hostile = "</script><script>alert(1)</script>"
    named = [type(one)(**{**vars(one), "id": hostile + one.id, "method": hostile}) for one in candidates]
    document = compose_decision(content, question, named, choose(named, Constraints(), "quality"), hostile)
    assert "<script>alert" not in html(document)
    code = [line for line in markdown(document).splitlines() if "<script>alert" in line]
    assert code == [f"    {hostile}"], "in a block of code it is text"
