"""Where models come from: folders that are not models, random weights that stay the same, architectures."""

from __future__ import annotations

import json

import pytest

from harness.errors import ModelError
from harness.models.checkpoint import content_hash, weight_files
from harness.models.sources import EMBEDDED, configuration, kind_of, open_folder, open_model

SIZES = {"hidden_size": 64, "intermediate_size": 128, "layers": 1, "heads": 4, "kv_heads": 2, "vocab_size": 64}


def one_line(caught, *words):
    message = str(caught.value)
    assert "\n" not in message
    assert all(word in message for word in words), message


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(ModelError) as caught:
        open_folder(tmp_path / "nothing")
    one_line(caught, "nothing", "does not exist")


def test_a_folder_that_is_no_model(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing here")
    with pytest.raises(ModelError) as caught:
        open_folder(tmp_path)
    one_line(caught, str(tmp_path), "not a model folder", "config.json")


def test_a_folder_without_weights(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelError) as caught:
        open_folder(tmp_path)
    one_line(caught, str(tmp_path), "no weights", "safetensors")


def test_a_configuration_that_is_not_json(tmp_path):
    (tmp_path / "config.json").write_text("{broken")
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(ModelError) as caught:
        open_folder(tmp_path)
    one_line(caught, "config.json", "not valid JSON")


@pytest.mark.parametrize("content", ["[]", "3", '"text"'])
def test_a_configuration_that_is_json_but_none(tmp_path, content):
    (tmp_path / "config.json").write_text(content)
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(ModelError) as caught:
        open_folder(tmp_path)
    one_line(caught, "config.json", "no model configuration")


def test_weights_that_are_not_weights(tmp_path, llama, open_live):
    for file in llama.parts["model"].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "model.safetensors").write_bytes(b"\x00" * 100)
    with pytest.raises(ModelError) as caught:
        open_live(open_folder(tmp_path))
    one_line(caught, "cannot load the model")


@pytest.mark.parametrize(
    ("architecture", "kind"),
    [
        ("LlamaForCausalLM", "causal"),
        ("BertForMaskedLM", "masked"),
        ("T5ForConditionalGeneration", "seq2seq"),
        ("BertForSequenceClassification", "classifier"),
    ],
)
def test_the_kind_is_read_off_the_architecture(tmp_path, architecture, kind):
    (tmp_path / "config.json").write_text(json.dumps({"architectures": [architecture]}))
    assert kind_of(tmp_path) == kind


def test_a_folder_has_the_parts_that_it_has(llama, tokenizer_run, tmp_path):
    assert set(open_folder(llama.parts["model"]).parts) == {"model"}
    both = tmp_path / "both"
    both.mkdir()
    for part in ("model", "tokenizer"):
        for file in llama.parts[part].iterdir():
            (both / file.name).write_bytes(file.read_bytes())
    assert set(open_folder(both).parts) == {"model", "tokenizer"}


def test_the_embedded_model_is_a_model():
    checkpoint = open_model({"kind": "embedded"}, cache=EMBEDDED)
    assert checkpoint.kind == "causal" and set(checkpoint.parts) == {"model", "tokenizer"}
    assert sum(file.stat().st_size for file in weight_files(EMBEDDED)) <= 8_000_000


def random_model(cache, seed, **sizes):
    return open_model({"kind": "random", "architecture": "llama", "seed": seed, **SIZES, **sizes}, cache=cache)


def test_random_weights_are_fixed_by_their_seed(tmp_path):
    def weights(folder, seed):
        return content_hash(weight_files(random_model(tmp_path / folder, seed).parts["model"]))

    first = weights("a", 0)
    assert weights("b", 0) == first, "made anew elsewhere"
    assert weights("a", 1) != first
    assert weights("a", 0) == first, "the same folder is not written over"


def test_random_weights_are_told_apart_by_their_sizes(tmp_path):
    assert random_model(tmp_path, 0).parts != random_model(tmp_path, 0, layers=2).parts
    assert random_model(tmp_path, 0).parts == random_model(tmp_path, 0).parts
    assert not any(path.name.startswith("tmp") for path in (tmp_path / "architectures").iterdir())


def test_a_random_model_opens_at_the_sizes_asked_for(tmp_path, open_live):
    for name, attribute in (("llama", "num_hidden_layers"), ("gpt2", "n_layer")):
        spec = {"kind": "random", "architecture": name, **SIZES, "layers": 3, "context": 77}
        model = open_live(open_model(spec, cache=tmp_path))
        assert getattr(model.config, attribute) == 3
        assert model.config.max_position_embeddings == 77
        assert model.get_input_embeddings().weight.shape == (64, 64)


@pytest.mark.parametrize(("architecture", "kind"), [("bert", "masked"), ("t5", "seq2seq"), ("bart", "seq2seq")])
def test_random_models_of_other_kinds_open_as_what_they_are(tmp_path, open_live, architecture, kind):
    spec = {"kind": "random", "architecture": architecture, **SIZES, "layers": 3, "context": 77}
    checkpoint = open_model(spec, cache=tmp_path)
    assert checkpoint.kind == kind == kind_of(checkpoint.parts["model"])
    model = open_live(checkpoint)
    assert model.config.num_hidden_layers == 3 and model.config.num_attention_heads == 4
    assert (model.config.n_positions if architecture == "t5" else model.config.max_position_embeddings) == 77
    assert model.get_input_embeddings().weight is model.get_output_embeddings().weight
    assert not [name for name, value in vars(model.config).items() if "dropout" in name and value]
    decoders = sum(name.endswith(("decoder.block.2", "decoder.layers.2")) for name, _ in model.named_modules())
    assert decoders == (kind == "seq2seq"), "layers are those of each half"


def test_what_an_architecture_cannot_be_is_one_line():
    with pytest.raises(ModelError) as caught:
        configuration({"architecture": "t5", "tie_embeddings": False})
    one_line(caught, "t5 always ties its embeddings")
    with pytest.raises(ModelError) as caught:
        configuration({"architecture": "bert", "hidden_size": 100, "heads": 3})
    one_line(caught, "hidden_size 100 is not a multiple of heads 3")


def test_an_architecture_has_no_weights(tmp_path):
    blank = open_model({"kind": "architecture", "architecture": "gpt2", **SIZES}, cache=tmp_path)
    assert blank.kind == "blank" and set(blank.parts) == {"config"}
    assert weight_files(blank.parts["config"]) == []


def test_an_unknown_architecture_is_one_line_with_the_nearest_name(tmp_path):
    with pytest.raises(ModelError) as caught:
        configuration({"architecture": "lama"})
    one_line(caught, "unknown architecture 'lama'", "did you mean 'llama'?")


def test_an_unknown_kind_of_model(tmp_path):
    with pytest.raises(ModelError, match="unknown kind of model 'cloud'"):
        open_model({"kind": "cloud"}, cache=tmp_path)


def test_a_hub_model_that_is_not_here_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ModelError) as caught:
        open_model({"kind": "hub", "id": "nobody/nothing-at-all", "revision": "abc"}, cache=tmp_path)
    one_line(caught, "nobody/nothing-at-all@abc", "harness prepare hub:nobody/nothing-at-all@abc")


def test_a_folder_that_lacks_a_shard_is_one_line(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model-1.safetensors").write_bytes(b"")
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}))
    with pytest.raises(ModelError) as caught:
        open_folder(tmp_path)
    one_line(caught, str(tmp_path), "model.safetensors.index.json", "'model-2.safetensors', which are not there")
    index.write_text("[]")
    with pytest.raises(ModelError) as caught:
        open_folder(tmp_path)
    one_line(caught, "is no index of weights")


def test_weights_that_are_missing_are_not_drawn_at_random(tmp_path, llama, bert, open_live):
    from safetensors.torch import load_file, save_file

    for file in llama.parts["model"].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = load_file(tmp_path / "model.safetensors")
    del weights["model.norm.weight"]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError) as caught:
        open_live(open_folder(tmp_path))
    one_line(caught, "lacks 1 weights", "model.norm.weight", "random")
    assert open_live(llama).get_output_embeddings().weight is not None, "tied ones are not stored twice"
    assert open_live(bert) is not None
