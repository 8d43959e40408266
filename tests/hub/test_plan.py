"""What the plan reads of the hub's cache: kind, parts and commit of what is here, and what it says of what is not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.cli.planning import write_jobs
from harness.errors import ModelError, UsageError
from harness.hub.cache import Repository, cache_folder, label_of
from harness.hub.weights import beside_weights, is_complete, shards_of, weights_of
from harness.plan.machine import Machine
from harness.plan.plan import Plan, plan
from harness.plan.sources import data_source, model_source
from harness.plan.suite import load_text
from harness.run.launcher import variables_of

ONE, OTHER = "1" * 40, "2" * 40
HERE = Machine(cores=2, cuda_devices=0)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "hub"


def put(commit: str, architecture: str = "BertForMaskedLM", name: str = "org/name", **files: str) -> Path:
    """A model at a commit in the hub's cache, which ``main`` then names."""
    repository = Repository("model", name)
    folder = repository.snapshot(commit)
    folder.mkdir(parents=True)
    config = json.dumps({"architectures": [architecture]})
    for file, content in {"config.json": config, "model.safetensors": "x", "tokenizer.json": "{}", **files}.items():
        (folder / file).write_text(content)
    repository.remember("main", commit)
    return folder


def planned(model: str, tasks: str = "[perplexity, masked_prediction, denoising]") -> Plan:
    return plan(load_text(f"method: base\nmodel: {model}\ntasks: {tasks}\n"), machine=HERE)


@pytest.mark.parametrize(
    ("architecture", "kind", "task"),
    [
        ("BertForMaskedLM", "masked", "masked_prediction"),
        ("T5ForConditionalGeneration", "seq2seq", "denoising"),
        ("MistralForCausalLM", "causal", "perplexity"),
    ],
)
def test_a_model_that_is_here_is_planned_as_its_kind(architecture: str, kind: str, task: str) -> None:
    put(ONE, architecture)
    source = model_source("hub:org/name", {}, Path())
    assert source.here and source.kind == kind and "tokenizer" in source.parts
    assert source.spec == {"kind": "hub", "id": "org/name", "revision": "main", "commit": ONE}
    found = planned("hub:org/name")
    assert [step.task.name for step in found.steps if step.state == "runnable" and step.task] == [task]
    assert not found.missing and "to_fetch" not in found.to_dict()


def test_of_a_model_that_is_not_here_nothing_is_left_out_and_it_is_said() -> None:
    source = model_source("hub:org/name@v1", {}, Path())
    assert not source.here and "commit" not in source.spec
    found = planned("hub:org/name@v1")
    assert [step.state for step in found.steps] == ["runnable"] * 3
    assert found.to_dict()["to_fetch"] == ["hub:org/name@v1"]


@pytest.mark.parametrize("lost", ["config.json", "model.safetensors"])
def test_one_that_is_here_in_part_is_not_here(lost: str) -> None:
    (put(ONE) / lost).unlink()
    assert not model_source("hub:org/name", {}, Path()).here


def test_one_without_a_tokenizer_is_here_without_it() -> None:
    (put(ONE) / "tokenizer.json").unlink()
    source = model_source("hub:org/name", {}, Path())
    assert source.here and "tokenizer" not in source.parts


def test_a_commit_is_one_identity_however_it_is_named_and_a_branch_that_moves_on_another() -> None:
    put(ONE)
    Repository("model", "org/name").remember("v1", ONE)
    names = ["hub:org/name", "hub:org/name@main", "hub:org/name@v1", f"hub:org/name@{ONE}"]
    first = {model_source(name, {}, Path()).identity for name in names}
    assert len(first) == 1
    put(OTHER)
    moved = {name: model_source(name, {}, Path()).identity for name in names}
    assert moved["hub:org/name@v1"] == moved[f"hub:org/name@{ONE}"] == first.pop()
    assert moved["hub:org/name"] == moved["hub:org/name@main"] != moved["hub:org/name@v1"]


def test_a_pinned_commit_is_the_same_before_it_is_here_so_that_its_records_count() -> None:
    before = model_source(f"hub:org/name@{ONE}", {}, Path())
    put(ONE)
    assert not before.here and before.identity == model_source("hub:org/name", {}, Path()).identity


def test_data_are_known_by_commit_too() -> None:
    before = data_source("hub:org/set", {}, Path())
    Repository("dataset", "org/set").remember("main", ONE)
    after = data_source("hub:org/set", {}, Path())
    assert "commit" not in before.spec and after.spec["commit"] == ONE
    assert after.identity == data_source(f"hub:org/set@{ONE}", {}, Path()).identity != before.identity
    assert not after.here, "the name is known, and the rows are not"


@pytest.mark.parametrize("content", ["", "main", "../../../elsewhere", "g" * 40, "1" * 41, "\0", "1" * 39 + "/"])
def test_a_name_that_leads_to_no_commit_names_nothing(content: str, cache: Path) -> None:
    file = cache / "models--org--name" / "refs" / "main"
    file.parent.mkdir(parents=True)
    file.write_text(content)
    assert Repository("model", "org/name").commit("main") is None


def test_jobs_for_elsewhere_name_a_commit(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="which commit hub:org/name@main is, is not known here"):
        write_jobs(planned("hub:org/name"), tmp_path / "todo")
    assert not (tmp_path / "todo").exists()
    assert write_jobs(planned(f"hub:org/name@{ONE}"), tmp_path / "todo") == 3


def test_whoever_measures_is_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    job = {"hardware": {"device": "cpu", "threads": 1}, "environment": "main"}
    assert variables_of(job)["HF_HUB_OFFLINE"] == "1"


def test_the_cache_is_where_the_library_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache_folder() == tmp_path / "home" / "hub"
    monkeypatch.delenv("HF_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "huggingface" / "hub"
    monkeypatch.setenv("HF_HUB_CACHE", "$XDG_CACHE_HOME/own")
    assert cache_folder() == tmp_path / "xdg" / "own"


def test_one_set_of_weights_is_read_as_transformers_chooses() -> None:
    def none(index: str) -> set[str]:
        raise AssertionError(f"{index} is not to be read")

    one, two = "model-1.safetensors", "model-2.safetensors"
    index = "model.safetensors.index.json"
    assert weights_of(["pytorch_model.bin", "model.safetensors", index], none) == ["model.safetensors"]
    assert weights_of([index, one, two, "pytorch_model.bin"], lambda name: {two, one}) == [index, one, two]
    assert weights_of(["pytorch_model.bin", "tf_model.h5"], none) == ["pytorch_model.bin"]
    assert weights_of(["tf_model.h5", "adapter_model.safetensors"], none) == []
    with pytest.raises(ModelError, match=r"'../../etc/passwd', which are not there"):
        weights_of([index, one], lambda name: {one, "../../etc/passwd"})


def test_beside_the_weights_are_configuration_tokenizer_and_templates_and_no_code() -> None:
    names = [
        "config.json", "tokenizer.json", "spiece.model", "vocab.txt", "chat_template.jinja", "modeling_x.py", "a.pkl",
        "additional_chat_templates/tool.jinja", "additional_chat_templates/x.py", "onnx/config.json", "README.md",
        "pytorch_model.bin.index.json", "training_args.bin", "cl100k.tiktoken",
    ]  # fmt: skip
    assert beside_weights(names) == [
        "additional_chat_templates/tool.jinja", "chat_template.jinja", "cl100k.tiktoken", "spiece.model",
        "tokenizer.json", "vocab.txt", "config.json",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"weight_map": {}}', '{"weight_map": {"a": 1}}', '{"weight_map": 3}']
)  # fmt: skip
def test_an_index_that_is_none_is_one_line(tmp_path: Path, text: str) -> None:
    file = tmp_path / "model.safetensors.index.json"
    file.write_text(text)
    with pytest.raises(ModelError, match="is no index of weights") as caught:
        shards_of(file)
    assert "\n" not in str(caught.value)
    (tmp_path / "config.json").write_text("{}")
    assert not is_complete(tmp_path)


def test_a_model_of_the_hub_is_called_by_its_name() -> None:
    assert label_of(Repository("model", "org/na-me").snapshot(ONE)) == f"org/na-me@{ONE[:12]}"
    assert label_of(Path("models/mine")) == "mine"
