"""Parameters by arithmetic against the models that transformers makes, and against what was published."""

from __future__ import annotations

import pytest
import torch
import transformers

from harness.errors import ModelError
from harness.memory.shape import shape_of, shape_of_sizes
from harness.models.architectures import ARCHITECTURES, auto_class, configuration
from harness.models.published import PUBLISHED

ODD = {"layers": 3, "hidden_size": 96, "heads": 6, "kv_heads": 3, "vocab_size": 777, "intermediate_size": 200,
       "context": 333}  # fmt: skip
# Parameters as the papers, model cards or the library's own models have them, in millions (in thousands for the small).
MILLIONS = {
    "llama-7b": 6738.4, "llama-13b": 13_015.9, "llama-30b": 32_528.9, "llama-65b": 65_285.7, "llama-2-70b": 68_976.6,
    "llama-3-8b": 8030.3, "llama-3-70b": 70_553.7, "gpt2": 124.44, "gpt2-medium": 354.82, "gpt2-large": 774.03,
    "gpt2-xl": 1557.61, "distilgpt2": 81.91, "gpt3-175b": 174_600, "bert-base": 109.51, "bert-large": 335.17,
    "distilbert-base": 66.99, "t5-small": 60.51, "t5-base": 222.9, "bart-base": 139.42, "bart-large": 406.29,
}  # fmt: skip


def made(config, kind):
    with torch.device("meta"):
        model = auto_class(kind).from_config(config)
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(
    ("name", "sizes"),
    [(name, sizes) for name in ARCHITECTURES for sizes in ({}, ODD, {"tie_embeddings": False})
     if name != "t5" or sizes.get("tie_embeddings", True)],
)  # fmt: skip
def test_every_architecture_is_counted_as_it_is_made(name, sizes):
    spec = {"architecture": name, **sizes}
    config = configuration(spec)
    parameters = made(config, ARCHITECTURES[name])
    assert shape_of(config.to_dict()).parameters == parameters
    assert shape_of_sizes(spec).parameters == parameters


@pytest.mark.parametrize("name", ["DistilBert", "Mistral", "Qwen2", "T5"])
def test_layouts_that_are_not_made_here_are_counted_too(name):
    given = {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False} if name == "T5" else {}
    config = getattr(transformers, f"{name}Config")(**given)
    kind = {"DistilBert": "masked", "T5": "seq2seq"}.get(name, "causal")
    assert shape_of(config.to_dict()).parameters == made(config, kind)


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_shapes_have_the_published_parameters(name):
    assert shape_of(PUBLISHED[name]).parameters / 1e6 == pytest.approx(MILLIONS[name], rel=2e-4)


LLAMA = {"model_type": "llama", "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
         "num_attention_heads": 4, "vocab_size": 100}  # fmt: skip


@pytest.mark.parametrize("more", [{}, {"attention_bias": True}, {"mlp_bias": True}, {"tie_word_embeddings": True}])
def test_biases_of_a_llama_are_counted(more):
    config = transformers.LlamaConfig(**{**LLAMA, **more})
    assert shape_of(config.to_dict()).parameters == made(config, "causal")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"num_attention_heads": 0}, "no numbers that make a model"),
        ({"hidden_size": "64"}, "no numbers that make a model"),
        ({"hidden_size": None}, "no numbers that make a model"),
        ({"hidden_size": -64}, "gives -64 for its hidden size"),
        ({"num_hidden_layers": 0}, "gives 0 for its layers"),
        ({"vocab_size": 64.5}, "gives 64.5 for its vocabulary"),
        ({"vocab_size": True}, "gives True for its vocabulary"),
        ({"hidden_size": 10**400}, "gives 1000"),
        ({"intermediate_size": float("nan")}, "gives nan for its intermediate size"),
        ({"num_key_value_heads": 3}, "4 heads of this llama do not share 3 key-value heads evenly"),
        ({"quantization_config": {"bits": 4}}, "quantised already: give the configuration of the plain model"),
    ],
)
def test_sizes_that_make_no_model_are_one_line(wrong, words):
    with pytest.raises(ModelError, match=words) as found:
        shape_of({**LLAMA, **wrong})
    assert "\n" not in str(found.value) and len(str(found.value)) < 200


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"model_type": "rwkv"}, "no memory model for model_type 'rwkv'; known: llama"),
        ({"model_type": "lama"}, "did you mean 'llama'"),
        ({}, "no memory model for model_type 'None'"),
        ({"model_type": "llama", "hidden_size": 8}, "the configuration of this llama does not say num_attention_heads"),
    ],
)
def test_a_layout_that_is_not_known_is_one_line(config, words):
    with pytest.raises(ModelError, match=words) as found:
        shape_of(config)
    assert "\n" not in str(found.value)
