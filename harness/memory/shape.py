"""The sizes of a transformer that decide what it takes in memory, read from its configuration: no weights, no library.

Source of the layouts: the models as transformers 5 builds them (`modeling_llama`, `gpt2`, `bert`, `distilbert`, `t5`,
`bart`); a test compares every count with the model that the library makes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.errors import ModelError, did_you_mean
from harness.models.architectures import ARCHITECTURES, SIZES

MOST = 10**8
# Models that share a layout, by what their configuration calls them.
FAMILIES = {
    "llama": "llama", "mistral": "llama", "qwen2": "llama", "gpt2": "gpt2", "bert": "bert", "distilbert": "bert",
    "t5": "t5", "bart": "bart",
}  # fmt: skip


@dataclass(frozen=True)
class Linear:
    """One weight matrix of a block: ``outputs`` x ``inputs``, what it reads, and whether it has a bias.

    ``reads`` is ``stream`` (the block's normed state), ``mixed`` (what attention gives), ``ff`` (the state before the
    feed-forward network), ``inner`` (its wide state) or ``memory`` (what the encoder gives).
    """

    name: str
    outputs: int
    inputs: int
    reads: str
    bias: bool = False

    @property
    def parameters(self) -> int:
        """Weights and biases."""
        return self.outputs * self.inputs + (self.outputs if self.bias else 0)


@dataclass(frozen=True)
class Shape:
    """A model by its sizes. ``decoders`` are the layers of a second half that reads the first (0: there is none)."""

    family: str
    kind: str
    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    head_size: int
    vocabulary: int
    positions: int
    tied: bool
    decoders: int = 0
    types: int = 0
    biased_qkv: bool = False
    biased_output: bool = False
    biased_network: bool = False
    gated: bool = False
    relative: int = 0

    @property
    def width(self) -> int:
        """Width of all query heads together."""
        return self.heads * self.head_size

    @property
    def kv_width(self) -> int:
        """Width of all key (or value) heads together."""
        return self.kv_heads * self.head_size

    def linears(self, *, decoder: bool = False) -> list[Linear]:
        """The matrices of one block, in order; of the second half's blocks if ``decoder``."""
        return _LINEARS[self.family](self, decoder)

    @property
    def norms(self) -> int:
        """Parameters of one norm."""
        return self.hidden if self.family in ("llama", "t5") else 2 * self.hidden

    def norms_per_block(self, *, decoder: bool = False) -> int:
        """Norms of one block."""
        return 3 if decoder else 2

    def block_parameters(self, *, decoder: bool = False) -> int:
        """All parameters of one block."""
        matrices = sum(one.parameters for one in self.linears(decoder=decoder))
        return matrices + self.norms_per_block(decoder=decoder) * self.norms

    def linear_parameters(self) -> int:
        """Values in the matrices of all blocks (no biases): what quantisation takes."""
        def of(decoder: bool) -> int:
            return sum(one.outputs * one.inputs for one in self.linears(decoder=decoder))

        return self.layers * of(False) + (self.decoders * of(True) if self.decoders else 0)

    def embedding_parameters(self) -> int:
        """Token, position and type embeddings."""
        if self.family == "bart":  # positions for each half, with two rows more; tokens too where nothing is shared
            return (self.vocabulary * (1 if self.tied else 3) + 2 * (self.positions + 2)) * self.hidden
        positions = self.positions if self.family in ("gpt2", "bert") else 0
        return (self.vocabulary + positions + self.types) * self.hidden

    def head_parameters(self) -> int:
        """The language-modelling head, without the matrix that it shares with the embeddings."""
        own = 0 if self.tied else self.vocabulary * self.hidden
        if self.family == "bert":  # a dense layer, a norm, and a bias of the vocabulary (two where nothing is shared)
            biases = self.vocabulary * (1 if self.tied else 2)
            return own + self.hidden * (self.hidden + 1) + self.norms + biases
        return own

    def other_parameters(self) -> int:
        """Norms outside the blocks, and T5's position biases."""
        outside = {"bart": 2}.get(self.family, 2 if self.decoders else 1)
        return outside * self.norms + (2 * self.relative * self.heads if self.relative else 0)

    @property
    def parameters(self) -> int:
        """Parameters of the whole model."""
        blocks = self.layers * self.block_parameters()
        if self.decoders:
            blocks += self.decoders * self.block_parameters(decoder=True)
        return blocks + self.embedding_parameters() + self.head_parameters() + self.other_parameters()


def shape_of(config: Mapping[str, Any]) -> Shape:
    """The shape that a model's ``config.json`` describes; ``ModelError`` for a layout that is not known."""
    name = str(config.get("model_type"))
    if name not in FAMILIES:
        known = ", ".join(FAMILIES)
        raise ModelError(f"no memory model for model_type '{name}'{did_you_mean(name, FAMILIES)}; known: {known}")
    if config.get("quantization_config"):
        raise ModelError(f"this {name} is quantised already: give the configuration of the plain model")
    try:
        found = _READERS[FAMILIES[name]](config)
    except KeyError as missing:
        raise ModelError(f"the configuration of this {name} does not say {missing.args[0]}") from None
    except (TypeError, ValueError, ArithmeticError):
        raise ModelError(f"the sizes in the configuration of this {name} are no numbers that make a model") from None
    return _checked(found, name)


def _checked(shape: Shape, name: str) -> Shape:
    """The shape, where its sizes can be those of a model."""
    sizes = {"hidden size": shape.hidden, "intermediate size": shape.intermediate, "layers": shape.layers,
             "heads": shape.heads, "key-value heads": shape.kv_heads, "head size": shape.head_size,
             "vocabulary": shape.vocabulary}  # fmt: skip
    for what, size in sizes.items():
        if type(size) is not int or not 0 < size < MOST:
            raise ModelError(f"the configuration of this {name} gives {str(size)[:30]} for its {what}")
    if shape.heads % shape.kv_heads:
        raise ModelError(f"{shape.heads} heads of this {name} do not share {shape.kv_heads} key-value heads evenly")
    return shape


def shape_of_sizes(spec: Mapping[str, Any]) -> Shape:
    """The shape of an architecture as suites write one (``architecture: llama``, ``hidden_size: 256`` ...)."""
    family = spec.get("architecture", "llama")
    if family not in ARCHITECTURES:
        raise ModelError(f"unknown architecture '{family}'{did_you_mean(family, ARCHITECTURES)}")
    sizes = {**SIZES, **{key: spec[key] for key in SIZES if spec.get(key) is not None}}
    several = family in ("t5", "bart")
    heads, hidden = sizes["heads"], sizes["hidden_size"]
    return Shape(
        family=family, kind=ARCHITECTURES[family], hidden=hidden, intermediate=sizes["intermediate_size"],
        layers=sizes["layers"], decoders=sizes["layers"] if several else 0, heads=heads,
        kv_heads=sizes["kv_heads"] if family == "llama" else heads, head_size=hidden // heads,
        vocabulary=sizes["vocab_size"], positions=sizes["context"], tied=bool(spec.get("tie_embeddings", True)),
        types=2 if family == "bert" else 0, relative=32 if family == "t5" else 0,
    )  # fmt: skip


def _llama(config: Mapping[str, Any]) -> Shape:
    heads, hidden = config["num_attention_heads"], config["hidden_size"]
    return Shape(
        family="llama", kind="causal", hidden=hidden, intermediate=config["intermediate_size"],
        layers=config["num_hidden_layers"], heads=heads, kv_heads=config.get("num_key_value_heads") or heads,
        head_size=config.get("head_dim") or hidden // heads, vocabulary=config["vocab_size"],
        positions=config.get("max_position_embeddings", 0), tied=bool(config.get("tie_word_embeddings", False)),
        biased_qkv=config["model_type"] == "qwen2" or bool(config.get("attention_bias", False)),
        biased_output=bool(config.get("attention_bias", False)), biased_network=bool(config.get("mlp_bias", False)),
    )  # fmt: skip


def _gpt2(config: Mapping[str, Any]) -> Shape:
    heads, hidden = config["n_head"], config["n_embd"]
    return Shape(
        family="gpt2", kind="causal", hidden=hidden, intermediate=config.get("n_inner") or 4 * hidden,
        layers=config["n_layer"], heads=heads, kv_heads=heads, head_size=hidden // heads,
        vocabulary=config["vocab_size"], positions=config["n_positions"],
        tied=bool(config.get("tie_word_embeddings", True)),
    )  # fmt: skip


def _bert(config: Mapping[str, Any]) -> Shape:
    small = config["model_type"] == "distilbert"
    names = ("dim", "hidden_dim", "n_layers", "n_heads") if small else (
        "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"
    )  # fmt: skip
    hidden, intermediate, layers, heads = (config[name] for name in names)
    return Shape(
        family="bert", kind="masked", hidden=hidden, intermediate=intermediate, layers=layers, heads=heads,
        kv_heads=heads, head_size=hidden // heads, vocabulary=config["vocab_size"],
        positions=config["max_position_embeddings"], tied=bool(config.get("tie_word_embeddings", True)),
        types=0 if small else config.get("type_vocab_size", 2),
    )  # fmt: skip


def _t5(config: Mapping[str, Any]) -> Shape:
    return Shape(
        family="t5", kind="seq2seq", hidden=config["d_model"], intermediate=config["d_ff"],
        layers=config["num_layers"], decoders=config.get("num_decoder_layers") or config["num_layers"],
        heads=config["num_heads"], kv_heads=config["num_heads"], head_size=config["d_kv"],
        vocabulary=config["vocab_size"], positions=0, tied=bool(config.get("tie_word_embeddings", True)),
        gated=str(config.get("feed_forward_proj", "relu")).startswith("gated"),
        relative=config.get("relative_attention_num_buckets", 32),
    )  # fmt: skip


def _bart(config: Mapping[str, Any]) -> Shape:
    heads, hidden = config["encoder_attention_heads"], config["d_model"]
    if config.get("decoder_ffn_dim", config["encoder_ffn_dim"]) != config["encoder_ffn_dim"]:
        raise ModelError("no memory model for a bart whose halves have feed-forward networks of different widths")
    return Shape(
        family="bart", kind="seq2seq", hidden=hidden, intermediate=config["encoder_ffn_dim"],
        layers=config["encoder_layers"], decoders=config["decoder_layers"], heads=heads, kv_heads=heads,
        head_size=hidden // heads, vocabulary=config["vocab_size"], positions=config["max_position_embeddings"],
        tied=bool(config.get("tie_word_embeddings", True)),
    )  # fmt: skip


_READERS = {"llama": _llama, "gpt2": _gpt2, "bert": _bert, "t5": _t5, "bart": _bart}


def _llama_linears(shape: Shape, decoder: bool) -> list[Linear]:
    hidden, wide, bias = shape.hidden, shape.intermediate, shape.biased_qkv
    return [
        Linear("q_proj", shape.width, hidden, "stream", bias), Linear("k_proj", shape.kv_width, hidden, "stream", bias),
        Linear("v_proj", shape.kv_width, hidden, "stream", bias),
        Linear("o_proj", hidden, shape.width, "mixed", shape.biased_output),
        Linear("gate_proj", wide, hidden, "ff", shape.biased_network),
        Linear("up_proj", wide, hidden, "ff", shape.biased_network),
        Linear("down_proj", hidden, wide, "inner", shape.biased_network),
    ]  # fmt: skip


def _gpt2_linears(shape: Shape, decoder: bool) -> list[Linear]:
    hidden, wide = shape.hidden, shape.intermediate
    return [
        Linear("c_attn", 3 * hidden, hidden, "stream", True), Linear("c_proj", hidden, hidden, "mixed", True),
        Linear("c_fc", wide, hidden, "ff", True), Linear("c_proj", hidden, wide, "inner", True),
    ]  # fmt: skip


def _bert_linears(shape: Shape, decoder: bool) -> list[Linear]:
    hidden, wide = shape.hidden, shape.intermediate
    return [
        *(Linear(name, hidden, hidden, "stream", True) for name in ("query", "key", "value")),
        Linear("dense", hidden, hidden, "mixed", True), Linear("dense", wide, hidden, "ff", True),
        Linear("dense", hidden, wide, "inner", True),
    ]  # fmt: skip


def _t5_linears(shape: Shape, decoder: bool) -> list[Linear]:
    hidden, wide, width = shape.hidden, shape.intermediate, shape.width
    own = [*(Linear(name, width, hidden, "stream") for name in "qkv"), Linear("o", hidden, width, "mixed")]
    cross = [
        Linear("q", width, hidden, "cross"), *(Linear(name, width, hidden, "memory") for name in "kv"),
        Linear("o", hidden, width, "mixed"),
    ]  # fmt: skip
    first = [Linear(name, wide, hidden, "ff") for name in (("wi_0", "wi_1") if shape.gated else ("wi",))]
    return [*own, *(cross if decoder else ()), *first, Linear("wo", hidden, wide, "inner")]


def _bart_linears(shape: Shape, decoder: bool) -> list[Linear]:
    hidden, wide = shape.hidden, shape.intermediate

    def attention(query: str, others: str) -> list[Linear]:
        reads = {"q_proj": query, "k_proj": others, "v_proj": others, "out_proj": "mixed"}
        return [Linear(name, hidden, hidden, read, True) for name, read in reads.items()]

    cross = attention("cross", "memory") if decoder else []
    network = [Linear("fc1", wide, hidden, "ff", True), Linear("fc2", hidden, wide, "inner", True)]
    return [*attention("stream", "stream"), *cross, *network]


_LINEARS = {
    "llama": _llama_linears, "gpt2": _gpt2_linears, "bert": _bert_linears, "t5": _t5_linears, "bart": _bart_linears,
}  # fmt: skip
