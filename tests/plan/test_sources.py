from __future__ import annotations

import json

import pytest

from harness.contract import Hardware
from harness.errors import DataError, ModelError, UsageError
from harness.plan.sources import data_source, fingerprint, hardware, hardware_text, model_source


def folder(path, architecture="LlamaForCausalLM", tokenizer=True):
    path.mkdir()
    (path / "config.json").write_text(json.dumps({"architectures": [architecture]}))
    (path / "model.safetensors").write_bytes(b"weights")
    if tokenizer:
        (path / "tokenizer.json").write_text("{}")
    return path


def test_words_for_models(tmp_path):
    assert model_source("embedded", {}, tmp_path).spec["kind"] == "embedded"
    hub = model_source("hub:org/name@v2", {}, tmp_path)
    assert hub.spec == {"kind": "hub", "id": "org/name", "revision": "v2"}
    random = model_source("random:llama(layers=4, hidden_size=512)", {}, tmp_path)
    assert random.word == "random:llama(hidden_size=512, layers=4)"
    assert random.spec["hidden_size"] == 512 and random.spec["heads"] == 4 and random.spec["seed"] == 0
    assert not random.trained and random.parts == {"model", "config", "tokenizer"}  # the embedded tokenizer is lent
    assert "tokenizer" not in model_source("random:llama(vocab_size=96)", {}, tmp_path).parts


@pytest.mark.parametrize(("architecture", "kind"), [("gpt2", "causal"), ("bert", "masked"), ("bart", "seq2seq")])
def test_random_weights_are_of_the_kind_of_their_architecture(architecture, kind, tmp_path):
    assert model_source(f"random:{architecture}(layers=1)", {}, tmp_path).kind == kind


@pytest.mark.parametrize(
    ("word", "kind", "model_type"),
    [
        ("llama-3-8b", "causal", "llama"), ("distilbert-base(seed=3)", "masked", "distilbert"),
        ("t5-small", "seq2seq", "t5"),
    ],
)
def test_a_published_shape_is_named_like_the_model(word, kind, model_type, tmp_path):
    found = model_source(f"random:{word}", {}, tmp_path)
    assert (found.word, found.kind, found.trained) == (f"random:{word}", kind, False)
    assert found.spec["configuration"]["model_type"] == model_type
    assert found.spec["seed"] == (3 if "seed" in word else 0)
    assert found.parts == {"model", "config", "tokenizer"}


def test_a_name_that_is_both_is_the_published_model_unless_sizes_are_given(tmp_path):
    assert model_source("random:gpt2", {}, tmp_path).spec["configuration"]["n_layer"] == 12
    assert model_source("random:gpt2(seed=1)", {}, tmp_path).spec["configuration"]["n_layer"] == 12
    assert model_source("random:gpt2(layers=2)", {}, tmp_path).spec["layers"] == 2


def test_a_configuration_file_is_a_shape(tmp_path):
    config = {"model_type": "llama", "hidden_size": 64, "architectures": ["LlamaForCausalLM"], "auto_map": {"x": "a.B"}}
    (tmp_path / "shape").mkdir()
    (tmp_path / "shape" / "config.json").write_text(json.dumps(config))
    found = model_source("random:./shape/config.json(seed=2)", {}, tmp_path)
    assert found.spec == {
        "kind": "random", "seed": 2,
        "configuration": {"model_type": "llama", "hidden_size": 64, "architectures": ["LlamaForCausalLM"]},
    }  # fmt: skip
    assert model_source("random:./shape(seed=2)", {}, tmp_path).identity == found.identity
    (tmp_path / "shape" / "config.json").write_text(json.dumps(config | {"hidden_size": 128}))
    assert model_source("random:./shape(seed=2)", {}, tmp_path).identity != found.identity


def test_a_model_folder_gives_its_kind_and_parts(tmp_path):
    folder(tmp_path / "m")
    assert model_source("./m", {}, tmp_path).kind == "causal"
    assert "tokenizer" in model_source("./m", {}, tmp_path).parts
    folder(tmp_path / "t5", "T5ForConditionalGeneration", tokenizer=False)
    found = model_source(str(tmp_path / "t5"), {}, tmp_path)
    assert (found.kind, "tokenizer" in found.parts) == ("seq2seq", False)


def test_a_path_is_no_part_of_the_identity_and_the_content_is(tmp_path):
    first = model_source("./a", {}, folder(tmp_path / "a").parent)
    second = model_source("./b", {}, folder(tmp_path / "b").parent)
    assert first.identity == second.identity and str(tmp_path) not in first.identity
    (tmp_path / "b" / "model.safetensors").write_bytes(b"Weights")
    assert model_source("./b", {}, tmp_path).identity != first.identity


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("embeded", "unknown model 'embeded'; did you mean 'embedded'"),
        ("./none", "model folder './none' does not exist"),
        ("./empty", "'./empty' is not a model folder: it has no config.json"),
        ("./bare", "'./bare' has a config.json but no weights"),
        ("hub:a b", "'a b' is not a hub id"),
        ("random:lama", "unknown architecture 'lama'; did you mean 'llama'"),
        ("random:llama-3-9b", "unknown architecture 'llama-3-9b'; did you mean 'llama-3-8b'"),
        ("random:llama-3-8b(layers=2)", "'random:llama-3-8b' has no parameter 'layers'; it has seed"),
        ("random:./none.json", "cannot read random:./none.json: No such file"),
        ("random:./empty.json", "random:./empty.json is no model configuration: it has no model_type"),
        ("random:./cut.json", "random:./cut.json is not valid JSON"),
        ("random:./kernel.json", "random:./kernel.json asks for the attention kernel 'org/kernel' of a repository"),
        ("random:./four.json", "random:./four.json describes quantised weights"),
        ("random:llama(size=1)", "has no parameter 'size'"),
        ("random:llama(layers=0)", "layers=0 must be at least 1"),
    ],
)
def test_models_that_are_none(word, message, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "config.json").write_text("{}")
    (tmp_path / "empty.json").write_text("{}")
    (tmp_path / "cut.json").write_text("{")
    (tmp_path / "four.json").write_text('{"model_type": "llama", "quantization_config": {"bits": 4}}')
    (tmp_path / "kernel.json").write_text('{"model_type": "llama", "attn_implementation": "org/kernel"}')
    with pytest.raises(UsageError) as caught:
        model_source(word, {}, tmp_path)
    assert message in str(caught.value)


def test_words_for_data(tmp_path):
    assert data_source("source", {}, tmp_path).spec == {"kind": "source"}
    assert data_source("hub:org/set", {}, tmp_path).spec == {"kind": "hub", "id": "org/set", "revision": "main"}
    with pytest.raises(DataError, match="unknown data 'sorce'; did you mean 'source'"):
        data_source("sorce", {}, tmp_path)


def test_data_is_known_by_every_byte(tmp_path):
    file = tmp_path / "a.txt"
    content = bytearray(b"x" * 5_000_000)
    file.write_bytes(content)
    before = data_source("./a.txt", {}, tmp_path).identity
    content[1_500_000] = ord("y")
    file.write_bytes(content)
    assert data_source("./a.txt", {}, tmp_path).identity != before


def test_a_folder_of_weights_is_known_by_blocks_of_it(tmp_path):
    file = tmp_path / "w"
    content = bytearray(b"x" * 5_000_000)
    file.write_bytes(content)
    before = fingerprint(tmp_path)
    content[-1] = ord("y")
    file.write_bytes(content)
    assert fingerprint(tmp_path) != before
    file.rename(tmp_path / "v")
    assert fingerprint(tmp_path) not in (before,)


def test_hardware_reads_back_from_its_text():
    assert hardware("cpu") == Hardware()
    assert hardware({"device": "cpu", "threads": 2}) == hardware("cpu(threads=2)")
    for given in (Hardware(), Hardware("cuda", devices=2, ranks=2), Hardware(threads=2)):
        assert hardware(hardware_text(given)) == given
    assert hardware_text(Hardware("cuda", devices=2)) == "cuda(devices=2)"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("gpu", "unknown device 'gpu'; did you mean 'cpu'"),
        ("cpu(thread=2)", "'hardware' has no parameter 'thread'; did you mean 'threads'"),
        ({"devices": 0}, "devices and ranks must be at least 1"),
        (3, "hardware must be cpu, cuda or a mapping"),
    ],
)
def test_hardware_that_is_none(given, message):
    with pytest.raises(UsageError) as caught:
        hardware(given)
    assert message in str(caught.value)


def test_a_broken_configuration_is_one_line(tmp_path):
    (folder(tmp_path / "m") / "config.json").write_text("{")
    with pytest.raises(ModelError, match="not valid JSON"):
        model_source("./m", {}, tmp_path)
