"""From the hub to records: prepared, measured without a network, and never mixed when a branch moves on."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hub_server import Hub
from tiny_models import files_of

Harness = Callable[..., "subprocess.CompletedProcess[str]"]
SHORT = ("--remeasure", "0", "--no-report")


def jsonl(word: str, count: int) -> bytes:
    """Lines of text, each of its own."""
    rows = [{"body": f"{word} {number}: " + f"{word} is {number} " * 12, "id": number} for number in range(count)]
    return "".join(f"{json.dumps(row)}\n" for row in rows).encode()


def records(folder: Path) -> list[dict[str, Any]]:
    """The records of steps, canaries left out."""
    files = [file for file in folder.rglob("*.json") if ".cache" not in file.parts and file.name.count(".") == 2]
    found = [json.loads(file.read_text()) for file in files]
    return [record for record in found if record["operation"] != "canary"]


@pytest.mark.slow  # a sweep over six models
def test_every_kind_is_prepared_and_measured_without_a_request(
    hub: Hub, harness: Harness, suite: Callable[..., Path], tmp_path: Path, home: Path
) -> None:
    commits = {
        "org/sharded": hub.model("org/sharded", files_of("llama", shards="100KB", tie_embeddings=False)),
        "org/bert": hub.model("org/bert", files_of("bert")),
        "org/t5": hub.model("org/t5", files_of("t5")),
        "org/pickled": hub.model("org/pickled", files_of("gpt2", pickled=True)),
        "both": hub.model("both", files_of("gpt2") | {"pytorch_model.bin": b"not to be read", "modeling_x.py": b"1/0"}),
    }
    hub.models["both"].tags["v1"] = commits["both"]
    first = hub.dataset("org/set", {"train.jsonl": jsonl("first", 30), "test.jsonl": jsonl("old", 6)})
    hub.dataset("org/set", {"train.jsonl": jsonl("second", 30), "test.jsonl": jsonl("new", 6)})
    suite(
        model=["hub:org/sharded", "hub:org/bert", "hub:org/t5@main", "hub:org/pickled", "hub:both@v1"],
        data_sets={"texts": {"hub": "org/set", "revision": first, "columns": {"text": "body"}}}, data="texts",
        tasks=["perplexity", "masked_prediction(windows=4, pseudo_windows=2)", "denoising(windows=4)"],
    )  # fmt: skip
    before = harness("plan", "mine.yaml")
    assert before.stdout.count("not here yet") == 6 and "15 to run" in before.stdout, before.stdout
    done = harness("prepare", "mine.yaml")
    assert done.returncode == 0 and "mine is prepared (6 of the hub)" in done.stdout, done.stderr
    asked = {path.rsplit("/", 1)[1] for method, path, _ in hub.requests if method == "GET" and "/resolve/" in path}
    assert len([name for name in asked if name.startswith("model-0000")]) == 6 and "modeling_x.py" not in asked
    assert hub.downloads("pytorch_model.bin") == [None], "of the one that has nothing else"
    assert not list(home.glob("hub/models--*/**/*.py")), "no code was fetched"

    made = json.loads(harness("plan", "mine.yaml", "--json").stdout)
    assert "to_fetch" not in made
    runnable = {(step["coordinates"]["model"], step["coordinates"]["task"].split("(")[0]) for step in made["steps"]
                if step["state"] == "runnable"}  # fmt: skip
    assert runnable == {
        ("hub:org/sharded", "perplexity"), ("hub:org/pickled", "perplexity"), ("hub:both@v1", "perplexity"),
        ("hub:org/bert", "masked_prediction"), ("hub:org/t5@main", "denoising"),
    }  # fmt: skip

    hub.requests.clear()
    ran = harness("run", "mine.yaml", *SHORT)
    assert ran.returncode == 0, ran.stderr
    assert hub.requests == [], "measuring asked the hub"
    found = [record for record in records(tmp_path / "results") if record["status"] != "skipped"]
    assert len(found) == 5 and {record["status"] for record in found} == {"done"}
    for record in found:
        model = record["job"]["model"]
        assert model["commit"] == commits[model["id"]]
        assert record["job"]["data"]["commit"] == first
        assert record["observed"]["hub"] == {"model": f"{model['id']}@{model['commit']}", "data": f"org/set@{first}"}
    assert len({record["observed"]["data_fingerprint"] for record in found}) == 1
    assert "0 to run, 5 done already" in harness("plan", "mine.yaml").stdout


@pytest.mark.slow  # three short sweeps
def test_a_branch_that_moves_on_starts_anew_and_its_records_stay(
    hub: Hub, harness: Harness, suite: Callable[..., Path], tmp_path: Path
) -> None:
    secret = "hf_" + "T0kenThatNobodyMayRead" * 2
    name = "org/private"
    first = hub.model(name, files_of("gpt2"))
    hub.models[name].private, hub.models[name].readers = True, {secret}
    hub.dataset("org/set", {"train.jsonl": jsonl("first", 30), "test.jsonl": jsonl("old", 6)})
    suite(
        model=f"hub:{name}", data="texts", tasks="perplexity",
        data_sets={"texts": {"hub": "org/set", "columns": {"text": "body"}}},
    )  # fmt: skip
    refused = harness("run", "mine.yaml", *SHORT)
    assert refused.returncode == 2 and "org/private@main is not on the hub" in refused.stderr
    assert not records(tmp_path / "results"), "nothing is measured before everything is here"
    ran = harness("run", "mine.yaml", *SHORT, HF_TOKEN=secret)  # which fetches it first
    assert ran.returncode == 0, ran.stderr
    assert hub.tokens and set(hub.tokens) == {secret}

    second = hub.model(name, files_of("gpt2", layers=1))
    assert "0 to run, 1 done already" in harness("plan", "mine.yaml").stdout, "what is here counts, not what is there"
    assert harness("prepare", "mine.yaml", HF_TOKEN=secret).returncode == 0
    assert "1 to run, 0 done already" in harness("plan", "mine.yaml").stdout
    ran = harness("run", "mine.yaml", *SHORT)
    assert ran.returncode == 0 and "is not what it was at its last run here" in ran.stdout, ran.stderr
    kept = {record["job"]["model"]["commit"]: record for record in records(tmp_path / "results")}
    assert set(kept) == {first, second}
    harness("report", "mine")
    page = (tmp_path / "reports" / "mine" / "README.md").read_text()
    assert f"Of the hub: org/private@{second}." in page and first not in page
    parameters = {commit: record["metrics"]["parameters"] for commit, record in kept.items()}
    assert parameters[first] > parameters[second]

    suite("pinned", model=f"hub:{name}@{first}", data="texts", tasks="perplexity",
          data_sets={"texts": {"hub": "org/set", "columns": {"text": "body"}}})  # fmt: skip
    pinned = harness("plan", "pinned.yaml", "--json").stdout
    assert kept[first]["step"] in pinned, "a commit is what it is, however it is named"
    holding = [file for file in tmp_path.rglob("*") if file.is_file() and secret.encode() in file.read_bytes()]
    assert not holding, "the token is in a file"


@pytest.mark.slow  # a step in a process of its own
def test_a_job_planned_here_is_fetched_and_run_where_nothing_is(
    hub: Hub, harness: Harness, suite: Callable[..., Path], tmp_path: Path
) -> None:
    commit = hub.model("org/tiny", files_of("gpt2"))
    hub.dataset("org/set", {"train.jsonl": jsonl("first", 30), "test.jsonl": jsonl("old", 6)})
    suite(model="hub:org/tiny", data="texts", tasks="perplexity",
          data_sets={"texts": {"hub": "org/set", "columns": {"text": "body"}}})  # fmt: skip
    unknown = harness("plan", "mine.yaml", "--jobs", "todo")
    assert unknown.returncode == 2 and "which commit hub:org/tiny@main is, is not known here" in unknown.stderr
    assert harness("prepare", "mine.yaml").returncode == 0
    assert harness("plan", "mine.yaml", "--jobs", "todo").returncode == 0
    hub.model("org/tiny", files_of("gpt2", layers=1))
    (file,) = (tmp_path / "todo").glob("*.json")
    ran = harness("run", "--job", file, HF_HOME=str(tmp_path / "elsewhere"))
    assert ran.returncode == 0, ran.stdout + ran.stderr
    (record,) = (tmp_path / "todo").glob("*.record.json")
    told = json.loads(record.read_text())
    assert told["status"] == "done" and told["job"]["model"]["commit"] == commit


@pytest.mark.slow  # lm-eval is imported three times
def test_data_of_a_downstream_task_are_prepared_too(
    hub: Hub, harness: Harness, suite: Callable[..., Path], tmp_path: Path
) -> None:
    pytest.importorskip("lm_eval", reason="the package lm-eval is not installed")
    hub.model("org/tiny", files_of("gpt2"))
    rows = "".join(json.dumps({"q": f"{n} is", "options": ["even", "odd"], "a": n % 2}) + "\n" for n in range(20))
    hub.dataset("org/questions", {"test.jsonl": rows.encode()})
    (tmp_path / "task.yaml").write_text(
        "task: parity\ndataset_path: org/questions\ntest_split: test\noutput_type: multiple_choice\n"
        'doc_to_text: "{{q}}"\ndoc_to_choice: "{{options}}"\ndoc_to_target: a\nmetric_list: [{metric: acc}]\n'
    )
    suite(model="hub:org/tiny", tasks="lm_eval(task=./task.yaml)")
    prepared = harness("prepare", "mine.yaml")
    assert prepared.returncode == 0, prepared.stderr
    hub.requests.clear()
    ran = harness("run", "mine.yaml", *SHORT)
    (record,) = records(tmp_path / "results")
    assert record["status"] == "done", (record["reason"], ran.stderr)
    assert hub.requests == [] and record["observed"]["items"]["scored"] == 20
