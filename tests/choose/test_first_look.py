"""``harness try``: which suite comes out for which file, what is left out, and one real run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from harness.cli.commands import app
from harness.errors import DataError, HarnessError
from harness.plan.first_look import LOOKS, first_look, slug, view_and_columns
from harness.plan.machine import Machine
from harness.plan.plan import plan
from harness.plan.suite import load_text

ROWS = {
    "pairs": {"prompt": "a", "chosen": "b", "rejected": "c", "text": "d"},
    "instructions": {"question": "a", "response": "b"},
    "text_to_text": {"source": "a", "target": "b"},
    "labels": {"text": "a", "category": "b"},
    "text": {"content": "a"},
}
SIZES = {"steps": 50, "batch": 4, "sequence": 64}


def written(tmp_path, row, name="mine.jsonl"):
    file = tmp_path / name
    file.write_text(json.dumps(row) + "\n")
    return file


@pytest.mark.parametrize("view", LOOKS)
def test_columns_tell_the_view_and_the_suite_can_be_planned(view, tmp_path):
    file = written(tmp_path, ROWS[view])
    found, columns = view_and_columns(file)
    assert found == view and set(columns) == set(LOOKS[view].fields)
    assert set(columns.values()) <= set(ROWS[view])
    for tunes in (False, True):
        suite = load_text(first_look("try-x", "embedded", file, tunes=tunes, **SIZES), folder=tmp_path)
        made = plan(suite, machine=Machine(2, 0, frozenset({"main", "gguf", "gptq"})))
        skipped = {step.reason for step in made.steps if step.state == "skipped"}
        assert not skipped, skipped
        assert len(made.cells) + len(made.waiting) == len(LOOKS[view].methods)


def test_every_technique_that_trains_is_tuned_with_as_many_rates(tmp_path):
    told = yaml.safe_load(first_look("try-x", "embedded", written(tmp_path, ROWS["instructions"]), **SIZES))
    rates = [values["learning_rate"] for values in told["tune"]["params"].values()]
    assert set(told["tune"]["params"]) == {"full_finetune", "lora", "qlora"} and {len(one) for one in rates} == {3}


def test_alpacas_input_is_part_of_the_prompt(tmp_path):
    file = written(tmp_path, {"instruction": "a", "input": "b", "output": "c"})
    assert view_and_columns(file) == ("instructions", {"prompt": ["instruction", "input"], "answer": "output"})


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.jsonl", '{"x": 1}\n', "a.jsonl has the columns x, which make no view"),
        ("a.jsonl", "[1]\n", "a.jsonl:1: an object with named fields is needed, not list"),
        ("a.jsonl", "", "a.jsonl has no text"),
        ("a.json", "{", "a.json: not valid JSON"),
        ("a.json", '{"prompt": "a", "answer": "b"}', "a.json must hold a list of objects"),
        ("a.csv", "x,y\n1,2\n", "a.csv has the columns x, y, which make no view"),
        ("a.bin", "x", "unknown format 'bin'"),
        ("a.parquet", "no parquet", "a.parquet cannot be read as Parquet"),
        ("a.csv", "x" * 200_000 + "\n1\n", r"a.csv has the columns \[...\], which make no view"),
        ("a.csv", '"x\ny"\n1\n', "a.csv has the columns x y, which make no view"),
        ("a.json", "[" * 100_000, "a.json: not valid JSON"),
    ],
)
def test_a_file_that_holds_no_view_is_one_line(name, content, words, tmp_path):
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=words) as found:
        view_and_columns(tmp_path / name)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "\ufefftext,label\na,b\n"),
        ("a.jsonl", '\ufeff\n\n{"text": "a", "label": "b"}\n'),
        ("a.json", '{"data": [{"text": "a",\n "label": "b"}]}'),
    ],
)
def test_what_the_loader_reads_is_read(name, content, tmp_path):
    (tmp_path / name).write_text(content, encoding="utf-8")
    assert view_and_columns(tmp_path / name) == ("labels", {"text": "text", "label": "label"})


def test_names_become_slugs():
    assert slug("../Ümläut & co.; rm -rf") == "ml-ut-co-rm-rf" and slug("///") == "data" and len(slug("a" * 99)) == 40


def asked(*options):
    return CliRunner().invoke(app, ["try", *options], catch_exceptions=True)


def test_what_does_not_fit_is_left_out_and_said(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = written(tmp_path, ROWS["instructions"])
    done = asked("embedded", str(file), "--memory", "690MB", "--dry")
    assert done.exit_code == 0, done.output
    assert "left out: full_finetune is predicted to need" in done.stdout
    told = yaml.safe_load(Path("try-embedded-mine.yaml").read_text())
    assert "full_finetune" not in told["method"] and "qlora" in told["method"]
    assert "full_finetune" not in told["tune"]["params"]
    none = asked("embedded", str(file), "--memory", "1MB", "--dry")
    assert isinstance(none.exception, HarnessError) and "no method is left that fits" in str(none.exception)


def test_a_suite_of_the_users_own_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = written(tmp_path, ROWS["instructions"])
    Path("try-embedded-mine.yaml").write_text("# mine\n")
    assert "suite: try-embedded-mine_2.yaml" in asked("embedded", str(file), "--dry").stdout
    assert Path("try-embedded-mine.yaml").read_text() == "# mine\n"
    assert "suite: try-embedded-mine_2.yaml" in asked("embedded", str(file), "--dry").stdout, "the same goes on"
    assert "suite: try-embedded-mine_3.yaml" in asked("embedded", str(file), "--dry", "--steps", "7").stdout


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["embedded", "nowhere.txt"], "data file 'nowhere.txt' does not exist"),
        (["nomodel", "mine.jsonl"], "unknown model 'nomodel'"),
        (["embedded", "mine.jsonl", "--memory", "lots"], "'lots' is no amount of memory"),
        (["embedded", "mine.jsonl", "--goal", "fame"], "unknown goal 'fame'"),
        (["embedded", "mine.jsonl", "--time", "ages"], "'ages' is no duration"),
        (["embedded", "mine.jsonl", "--max-quality-loss", "some"], "'some' is no share of quality"),
    ],
)
def test_wrong_use_is_one_line(options, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    written(tmp_path, ROWS["instructions"])
    done = asked(*options, "--dry")
    assert isinstance(done.exception, HarnessError) and words in str(done.exception)
    assert not list(tmp_path.glob("*.yaml")), "nothing is left behind"


@pytest.mark.slow
def test_one_line_measures_chooses_and_reports(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [{"prompt": f"add {number} and {number + 1}", "answer": str(2 * number + 1)} for number in range(120)]
    Path("sums.jsonl").write_text("\n".join(map(json.dumps, rows)))
    done = asked("embedded", "sums.jsonl", "--steps", "5", "--sequence", "32", "--goal", "memory")
    assert done.exit_code == 0, done.output[-2000:]
    assert "goal: memory" in done.stdout and "reproduce: harness run try-embedded-sums.yaml" in done.stdout
    page = Path("reports/try-embedded-sums/choose/index.html")
    assert page.is_file() and "full_finetune" in page.read_text()
