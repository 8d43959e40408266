"""``harness prepare`` against a hub on loopback: what arrives, what is refused, what is said of what cannot be had."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hub_server import Hub, Repo

Harness = Callable[..., "subprocess.CompletedProcess[str]"]
CHUNK = 10 * 2**20  # in which the client writes what arrives


def test_what_cannot_be_had_is_one_line_each_and_the_rest_is_fetched(
    hub: Hub, harness: Harness, suite: Callable[..., Path], embedded: dict[str, bytes], home: Path
) -> None:
    commit = hub.model("org/good", embedded)
    hub.models["org/good"].tags["v1.0"] = commit
    hub.model("org/gated", embedded)
    hub.models["org/gated"].gated = True
    hub.model("org/bad", embedded | {"model.safetensors": b"A" * 1000})
    hub.corrupt["org/bad/model.safetensors"] = b"B" * 1000
    hub.model("org/small", {name: content for name, content in embedded.items() if name != "model.safetensors"}
              | {"pytorch_model.bin": b"C" * 10})  # fmt: skip
    hub.corrupt["org/small/generation_config.json"] = b" " * len(embedded["generation_config.json"])
    hub.model("org/tensorflow", {"config.json": b"{}", "tf_model.h5": b"x"})
    hub.model("org/words", {"README.md": b"words"})
    index = b'{"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}'
    hub.model("org/torn", {"config.json": b"{}", "model.safetensors.index.json": index, "model-1.safetensors": b"x"})
    elsewhere = Repo(commits={"../../../elsewhere": embedded}, branches={"main": "../../../elsewhere"})
    hub.models["org/elsewhere"] = elsewhere
    names = ["elsewhere", "gated", "goode", "good@v2.0", "bad", "small", "tensorflow", "words", "torn", "good@v1.0"]
    suite(model=[f"hub:org/{name}" for name in names], tasks="perplexity")

    done = harness("prepare", "mine.yaml")
    lines = [line for line in done.stderr.splitlines() if line.startswith("harness: ")]
    said = dict(zip(names, lines, strict=False))
    assert done.returncode == 2 and len(lines) == 9, done.stderr
    assert "the hub says no commit but '../../../elsewhere'" in said["elsewhere"]
    assert "model org/gated@main is gated: accept its conditions at" in said["gated"] and "HF_TOKEN" in said["gated"]
    assert f"model org/goode@main is not on the hub at {hub.url}" in said["goode"]
    assert "org/good has no such revision; did you mean 'v1.0'? (it has: main, v1.0)" in said["good@v2.0"]
    expected = hashlib.sha256(b"A" * 1000).hexdigest()
    assert "arrived as 'model.safetensors' has the SHA-256" in said["bad"] and expected in said["bad"]
    assert "arrived as 'generation_config.json' has the git SHA-1" in said["small"]
    assert "has no weights that are read" in said["tensorflow"]
    assert "is no model of transformers" in said["words"]
    assert "model org/torn@main: model.safetensors.index.json names the weights 'model-2.safetensors'" in said["torn"]
    assert "model org/good@v1.0 is here" in done.stderr
    there = {path.parents[2].name for path in home.rglob("snapshots/*/config.json")}
    assert there == {"models--org--good"}, "what was cut off or refused is not taken for a model"


@pytest.mark.slow  # the command is started several times
def test_only_what_is_read_is_fetched_and_a_tag_becomes_its_commit(
    hub: Hub, harness: Harness, embedded: dict[str, bytes], home: Path
) -> None:
    template = {"chat_template.jinja": b"{{ x }}"}
    beside = {"pytorch_model.bin": b"beside", "onnx/model.onnx": b"x", "own.py": b"1/0"}
    commit = hub.model("org/good", embedded | template | beside)
    hub.model("org/good", embedded | {"own.py": b"2"})
    hub.models["org/good"].tags["v1.0"] = commit
    done = harness("prepare", "hub:org/good@v1.0")
    assert done.returncode == 0 and f"model org/good@v1.0 is here, its files checked: commit {commit}" in done.stderr
    folder = home / "hub" / "models--org--good"
    assert (folder / "refs" / "v1.0").read_text() == commit
    there = {path.name: path.read_bytes() for path in (folder / "snapshots" / commit).iterdir()}
    assert there == embedded | template
    # The client finds it where it looks.
    code = "from huggingface_hub import snapshot_download as find\n" \
           "print(find('org/good', revision='v1.0', local_files_only=True))"  # fmt: skip
    kept = {"HF_HOME": str(home), "HF_HUB_OFFLINE": "1", "PATH": os.environ["PATH"]}
    found = subprocess.run([sys.executable, "-c", code], env=kept, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == str(folder / "snapshots" / commit)
    assert harness("prepare", "hub:org/good@v1.0", HF_HUB_OFFLINE="1").returncode == 0
    missing = harness("prepare", "hub:org/good@main", HF_HUB_OFFLINE="1")
    assert missing.returncode == 2 and "HF_HUB_OFFLINE is set" in missing.stderr and missing.stderr.count("\n") == 1


@pytest.mark.slow  # the command is started several times
def test_a_download_goes_on_after_a_cut_and_after_the_end_of_its_process(
    hub: Hub, harness: Harness, embedded: dict[str, bytes], home: Path, tmp_path: Path
) -> None:
    content = random.Random(0).randbytes(3 * CHUNK + 1234)
    commit = hub.model("org/large", embedded | {"model.safetensors": content})
    hub.stall["model.safetensors"] = CHUNK + 1000
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    variables = kept | {"HF_ENDPOINT": hub.url, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1",
                        "PYTHONPATH": str(Path(__file__).parents[2])}  # fmt: skip
    command = [sys.executable, "-m", "harness", "prepare", "hub:org/large"]
    first = subprocess.Popen(command, cwd=tmp_path, env=variables, stderr=subprocess.DEVNULL)
    folder = home / "hub" / "models--org--large"
    part = folder / "prepared" / f"{hashlib.sha256(content).hexdigest()}.part"
    deadline = time.monotonic() + 60
    while not (part.is_file() and part.stat().st_size >= CHUNK) and time.monotonic() < deadline:
        time.sleep(0.05)
    first.send_signal(signal.SIGKILL)
    first.wait()
    hub.stall.clear()
    assert not (folder / "refs").exists(), "an interrupted fetch leaves every name as it was"

    hub.cut["model.safetensors"] = CHUNK + 1000
    done = harness("prepare", "hub:org/large")
    assert done.returncode == 0, done.stderr
    assert hub.downloads("model.safetensors") == [None, f"bytes={CHUNK}-", f"bytes={2 * CHUNK}-"]
    assert (folder / "snapshots" / commit / "model.safetensors").read_bytes() == content
    assert not part.exists() and (folder / "refs" / "main").read_text() == commit


def test_an_unreachable_or_broken_hub_is_one_line(hub: Hub, harness: Harness, embedded: dict[str, bytes]) -> None:
    hub.model("org/good", embedded)
    hub.failing["/api/models/"] = 501
    broken = harness("prepare", "hub:org/good")
    assert broken.returncode == 2 and f"the hub at {hub.url} answered 501" in broken.stderr
    gone = harness("prepare", "hub:org/good", HF_ENDPOINT="http://127.0.0.1:9")
    assert gone.returncode == 2 and "the hub at http://127.0.0.1:9 cannot be reached" in gone.stderr
    assert broken.stderr.count("\n") == gone.stderr.count("\n") == 1


@pytest.mark.slow  # datasets is imported four times
def test_data_sets_by_revision_configuration_and_file(hub: Hub, harness: Harness, suite: Callable[..., Path]) -> None:
    card = b"---\nconfigs:\n- config_name: a\n  data_files: a/*.jsonl\n- config_name: b\n  data_files:\n" \
           b"  - split: test\n    path: b.jsonl\n---\n# Two\n"  # fmt: skip
    rows = b'{"question": "why?", "reply": "so"}\n' * 3
    hub.dataset("org/two", {"README.md": card, "a/1.jsonl": rows, "b.jsonl": rows})
    hub.datasets["org/gated"] = Repo(gated=True)
    hub.dataset("org/gated", {"train.jsonl": rows})
    hub.dataset("org/lies", {"train.jsonl": rows})
    columns = {"prompt": "question", "answer": "reply"}

    def prepared(**data: object) -> str:
        suite(data="d", data_sets={"d": {"columns": columns, **data}}, tasks="perplexity(view=instructions)")
        return harness("prepare", "mine.yaml").stderr

    first = prepared(hub="org/two", subset="b")
    assert "data set org/two@main is here" in first and "b.jsonl" in first and "a/1.jsonl" not in first
    assert "a/1.jsonl" not in " ".join(path for method, path, _ in hub.requests if method == "GET"), "of another one"
    assert "has no split 'tset'; did you mean 'test'?" in prepared(hub="org/two", subset="b", split={"test": "tset"})
    assert "has no such revision" in prepared(hub="org/two", revision="v9")
    assert "data set org/gated@main is gated: accept its conditions at" in prepared(hub="org/gated")
    hub.corrupt["org/lies/train.jsonl"] = rows.replace(b"why", b"how")
    assert "arrived as 'train.jsonl' has the git SHA-1" in prepared(hub="org/lies")
    hub.dataset("org/outside", {"../../../../train.jsonl": rows})
    assert prepared(hub="org/outside").startswith("harness: ")
    assert not list(suite().parent.rglob("train.jsonl")), "of what was refused nothing is kept"
    (file,) = suite().parent.rglob("*.zip")
    assert "org--two" in str(file)
