"""Task files of lm-eval: read without executing anything, known by their content, refused in one line."""

from __future__ import annotations

import json

import pytest

from harness.data import task_file
from harness.errors import DataError

KNOWN = {"acc": "lm_eval_acc", "exact_match": "lm_eval_exact_match"}
PLAIN = """
task: pairs
dataset_path: json
dataset_kwargs: {data_files: {test: rows.jsonl}}
test_split: test
output_type: multiple_choice
doc_to_text: ""
doc_to_choice: "{{[good, bad]}}"
doc_to_target: 0
metric_list: [{metric: acc}]
"""


@pytest.fixture
def write(tmp_path):
    """Write a task file and its rows; ``write("rest of the file", without="key")`` gives the path."""

    def made(more="", name="task.yaml", text=PLAIN, without=()):
        (tmp_path / "rows.jsonl").write_text(json.dumps({"good": "a", "bad": "b"}) + "\n")
        lines = [line for line in text.splitlines() if line.split(":")[0] not in without]
        (tmp_path / name).write_text("\n".join([*lines, more]) + "\n")
        return tmp_path / name

    return made


def read(path, functions=False):
    return task_file.read(path, functions=functions, metrics=KNOWN)


def test_a_file_is_what_lm_eval_reads(write):
    pytest.importorskip("lm_eval")
    from lm_eval.tasks._yaml_loader import load_yaml

    write("description: from the base\nfewshot_delimiter: yes", name="base.yaml", text="tag: x\ntask_list: [1]")
    path = write("include: base.yaml\ndescription: own")
    found, theirs = read(path).config, load_yaml(path)
    assert found.pop("dataset_kwargs")["data_files"] == {"test": [str(path.parent / "rows.jsonl")]}
    assert theirs.pop("dataset_kwargs") == {"data_files": {"test": "rows.jsonl"}}
    assert found == theirs and found["description"] == "own" and found["fewshot_delimiter"] is True


def test_the_fingerprint_is_of_the_content_alone(write, tmp_path):
    path = write()
    before = read(path).fingerprint
    (tmp_path / "moved").mkdir()
    for name in ("task.yaml", "rows.jsonl"):
        (tmp_path / "moved" / name).write_bytes((tmp_path / name).read_bytes())
    assert read(tmp_path / "moved" / "task.yaml").fingerprint == before
    (tmp_path / "rows.jsonl").write_text(json.dumps({"good": "a", "bad": "c"}) + "\n")
    assert read(path).fingerprint != before, "the data count"
    assert read(write("description: other")).fingerprint != before, "the file counts"
    write("description: one", name="base.yaml", text="")
    included = read(write("include: base.yaml")).fingerprint
    write("description: two", name="base.yaml", text="")
    assert read(path).fingerprint != included, "what is included counts"


def test_functions_are_neither_imported_nor_allowed_unasked(write, tmp_path):
    trace = tmp_path / "ran"
    (tmp_path / "code.py").write_text(f"open({str(trace)!r}, 'w')\ndef docs(rows):\n    return rows\n")
    path = write("process_docs: !function code.docs")
    with pytest.raises(DataError, match=r"^task\.yaml names Python code \(!function code\.docs\), which is run"):
        read(path)
    found = read(path, functions=True)
    assert found.config["process_docs"] == task_file.Function("code.docs", tmp_path) and not trace.exists()
    (tmp_path / "code.py").write_text("def docs(rows):\n    return rows[:1]\n")
    assert read(path, functions=True).fingerprint != found.fingerprint, "the code counts"


@pytest.mark.parametrize(
    ("more", "without", "said"),
    [
        ("x: !!python/object/apply:os.system [true]", (), r"task\.yaml:\d+: not valid YAML: could not determine"),
        ("x: !other y", (), "could not determine a constructor"),
        ("group: all", (), "is a group of tasks; name its tasks one by one"),
        ("", ("task",), "has no task:"),
        ("- a", ("task",), "not valid YAML"),
        ("metric_list: [{metric: made_up}]", ("metric_list",), "unknown metric 'made_up'; known: acc, exact_match"),
        ("metric_list: [{metric: ../metric.py}]", ("metric_list",), "unknown metric"),
        ("metric_list: [{metric: acc, hf_evaluate: true}]", ("metric_list",), "hf_evaluate: fetches code"),
        ("metric_list: acc", ("metric_list",), "metric_list: takes a list"),
        ("use_prompt: promptsource:x", (), "use_prompt: is not supported"),
        ("process_results: os.system", (), "process_results: is not supported"),
        ("class: os.system", (), "class: is not supported"),
        ("unsafe_code: true", (), "that run what a model writes, are not supported"),
        ("doc_to_image: x", (), "tasks over images or sound"),
        ("output_type: guess", ("output_type",), "unknown output_type 'guess'; known: multiple_choice"),
        ("generation_kwargs: {do_sample: true}", (), "generation is greedy here"),
        ("generation_kwargs: {temperature: 0.7}", (), "generation is greedy here"),
        ("generation_kwargs: {num_beams: 4}", (), "generation is greedy here"),
        ("generation_kwargs: {repetition_penalty: 2}", (), "'repetition_penalty' is not known here"),
        ("generation_kwargs: 3", (), "generation_kwargs: takes a mapping"),
        ("include: task.yaml", (), "it includes itself"),
        ("include: ../../../../none.yaml", (), "task file 'none.yaml' does not exist"),
        ("include: {a: 1}", (), "include: takes paths"),
        ("dataset_path: pandas", ("dataset_path",), "'pandas' is no format of local files"),
        ("dataset_path: ./script.py", ("dataset_path",), "'./script.py' is no format of local files"),
        ("dataset_path: 3", ("dataset_path",), "dataset_path: must name a format"),
        ("dataset_kwargs: {trust_remote_code: true}", ("dataset_kwargs",), "'trust_remote_code' is not known here"),
        ("dataset_kwargs: {data_files: {test: none.jsonl}}", ("dataset_kwargs",), "'none.jsonl' does not exist beside"),
        ("dataset_kwargs: {data_files: '*.jsonl'}", ("dataset_kwargs",), "is no path of one file"),
        ("dataset_kwargs: {data_files: 'https://x/y'}", ("dataset_kwargs",), "does not exist beside it"),
        ("dataset_kwargs: {field: x}", ("dataset_kwargs",), "is no path of one file"),
        ("dataset_kwargs: {data_files: {}}", ("dataset_kwargs",), "must name the files of each split"),
        ("x: " + "[" * 40 + "]" * 40, (), "nested more than 25 deep"),
        ("x: &a [1]\ny: [" + "*a, " * 200 + "]", (), "more than 100 aliases"),
        ("x: '\x07\x1b[2J'", (), "not valid YAML"),
    ],
)
def test_what_cannot_be_used_is_one_line(write, more, without, said):
    with pytest.raises(DataError, match=said) as caught:
        read(write(more, without=without))
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


def test_files_that_are_none(tmp_path, write):
    with pytest.raises(DataError, match=r"task file 'x\.yaml' does not exist"):
        read(tmp_path / "x.yaml")
    with pytest.raises(DataError, match="it is no file"):
        read(tmp_path)
    write("x: " + "y" * 1_000_001)
    with pytest.raises(DataError, match="are more than it may have"):
        read(tmp_path / "task.yaml")
    (tmp_path / "task.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="not valid YAML"):
        read(tmp_path / "task.yaml")


def test_data_of_the_hub_have_no_files(write):
    assert "data_files" not in read(write("dataset_path: org/name", without=("dataset_path", "dataset_kwargs"))).config
