"""The architectures that a model can be made from: which kind of model each is, and its configuration at given sizes.

One set of sizes serves all of them. ``layers`` of an encoder-decoder are the layers of each half, so that it has about
twice the weights of a decoder or encoder of the same sizes. ``kv_heads`` belong to llama alone. No architecture drops
out anything: at these sizes a text is read once or a few times.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from harness.errors import ModelError, did_you_mean

SIZES = {
    "hidden_size": 256,
    "intermediate_size": 512,
    "layers": 4,
    "heads": 4,
    "kv_heads": 2,
    "vocab_size": 2048,
    "context": 512,
}
# The kind of checkpoint that each gives once it has weights.
ARCHITECTURES = {"llama": "causal", "gpt2": "causal", "bert": "masked", "t5": "seq2seq", "bart": "seq2seq"}

# Types of encoders, whose checkpoints do not all say by their architecture that they are made for masked text
# (BertModel, BertForPreTraining, none): transformers' models for masked text that are not encoder-decoders.
ENCODERS = frozenset({
    "albert", "bert", "big_bird", "camembert", "convbert", "data2vec-text", "deberta", "deberta-v2", "distilbert",
    "electra", "ernie", "esm", "esmc", "eurobert", "flaubert", "fnet", "funnel", "gte", "ibert",
    "jina_embeddings_v3", "layoutlm", "longformer", "luke", "megatron-bert", "mobilebert", "modernbert",
    "modernvbert", "mpnet", "mra", "neomme", "nomic_bert", "nystromformer", "perceiver", "rembert", "roberta",
    "roberta-prelayernorm", "roc_bert", "roformer", "squeezebert", "tapas", "ultrabert", "ultravbert", "xlm",
    "xlm-roberta", "xlm-roberta-xl", "xmod", "yoso",
})  # fmt: skip


def configuration(spec: Mapping[str, Any]) -> Any:
    """Return the transformers configuration of an architecture specification (sizes default to small ones).

    One that holds a whole ``configuration``, as in ``config.json``, is taken at its word.
    """
    if "configuration" in spec:
        return _given(spec["configuration"])
    name = spec.get("architecture", "llama")
    if name not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise ModelError(f"unknown architecture '{name}'{did_you_mean(name, ARCHITECTURES)}; known: {known}")
    sizes = {**SIZES, **{key: spec[key] for key in SIZES if spec.get(key) is not None}}
    if sizes["hidden_size"] % sizes["heads"]:
        raise ModelError(f"hidden_size {sizes['hidden_size']} is not a multiple of heads {sizes['heads']}")
    return _MAKERS[name](sizes, bool(spec.get("tie_embeddings", True)))


def _given(configuration: Mapping[str, Any]) -> Any:
    from transformers import AutoConfig

    kind = configuration["model_type"]
    rest = {name: value for name, value in configuration.items() if name != "model_type"}
    try:
        return AutoConfig.for_model(kind, **rest)
    except (KeyError, TypeError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ModelError(f"no model of type '{kind}' can be made of this configuration: {reason}") from error


def kind_of_configuration(config: Mapping[str, Any]) -> str:
    """Kind of the model that a configuration (as in ``config.json``) describes."""
    named = config.get("architectures")
    name = named[0] if isinstance(named, list) and named and isinstance(named[0], str) else ""
    if name.endswith("ForMaskedLM"):
        return "masked"
    if config.get("is_encoder_decoder"):
        return "seq2seq"
    if name.endswith("ForConditionalGeneration"):  # also what decoders that see or hear are called
        return "causal" if "text_config" in config else "seq2seq"
    if name.endswith("ForSequenceClassification"):
        return "classifier"
    decoder = config.get("is_decoder") or (
        name.endswith(("ForCausalLM", "LMHeadModel")) and not name.endswith("WithLMHeadModel")  # XLM's and Flaubert's
    )
    return "masked" if config.get("model_type") in ENCODERS and not decoder else "causal"


def auto_class(kind: str, *, headless: bool = False) -> Any:
    """The transformers class that makes and opens models of a checkpoint kind; causal where it is another.

    ``headless``: the one that leaves the language-modelling head out, which is the same for all.
    """
    import transformers

    if headless:
        return transformers.AutoModel
    names = {"masked": "AutoModelForMaskedLM", "seq2seq": "AutoModelForSeq2SeqLM"}
    return getattr(transformers, names.get(kind, "AutoModelForCausalLM"))


def _llama(sizes: Mapping[str, int], tie: bool) -> Any:
    from transformers import LlamaConfig

    return LlamaConfig(
        vocab_size=sizes["vocab_size"], hidden_size=sizes["hidden_size"],
        intermediate_size=sizes["intermediate_size"], num_hidden_layers=sizes["layers"],
        num_attention_heads=sizes["heads"], num_key_value_heads=sizes["kv_heads"],
        max_position_embeddings=sizes["context"], tie_word_embeddings=tie,
        architectures=["LlamaForCausalLM"], bos_token_id=0, eos_token_id=0, pad_token_id=None,
    )  # fmt: skip


def _gpt2(sizes: Mapping[str, int], tie: bool) -> Any:
    from transformers import GPT2Config

    return GPT2Config(
        vocab_size=sizes["vocab_size"], n_embd=sizes["hidden_size"], n_inner=sizes["intermediate_size"],
        n_layer=sizes["layers"], n_head=sizes["heads"], n_positions=sizes["context"],
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, tie_word_embeddings=tie, architectures=["GPT2LMHeadModel"],
        bos_token_id=0, eos_token_id=0,
    )  # fmt: skip


def _bert(sizes: Mapping[str, int], tie: bool) -> Any:
    from transformers import BertConfig

    return BertConfig(
        vocab_size=sizes["vocab_size"], hidden_size=sizes["hidden_size"],
        intermediate_size=sizes["intermediate_size"], num_hidden_layers=sizes["layers"],
        num_attention_heads=sizes["heads"], max_position_embeddings=sizes["context"], tie_word_embeddings=tie,
        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, architectures=["BertForMaskedLM"],
    )  # fmt: skip


def _t5(sizes: Mapping[str, int], tie: bool) -> Any:
    """T5 as first published (ReLU, tied embeddings); positions are relative, so ``context`` is only what is told."""
    from transformers import T5Config

    if not tie:
        raise ModelError("t5 always ties its embeddings in transformers; leave tie_embeddings out")
    return T5Config(
        vocab_size=sizes["vocab_size"], d_model=sizes["hidden_size"], d_ff=sizes["intermediate_size"],
        d_kv=sizes["hidden_size"] // sizes["heads"], num_layers=sizes["layers"], num_heads=sizes["heads"],
        n_positions=sizes["context"], dropout_rate=0.0, architectures=["T5ForConditionalGeneration"],
        decoder_start_token_id=0,
    )  # fmt: skip


def _bart(sizes: Mapping[str, int], tie: bool) -> Any:
    from transformers import BartConfig

    layers, heads, width = sizes["layers"], sizes["heads"], sizes["intermediate_size"]
    return BartConfig(
        vocab_size=sizes["vocab_size"], d_model=sizes["hidden_size"], max_position_embeddings=sizes["context"],
        encoder_layers=layers, decoder_layers=layers, encoder_attention_heads=heads, decoder_attention_heads=heads,
        encoder_ffn_dim=width, decoder_ffn_dim=width, dropout=0.0, tie_word_embeddings=tie,
        forced_eos_token_id=None, architectures=["BartForConditionalGeneration"],
    )  # fmt: skip


_MAKERS: dict[str, Callable[[Mapping[str, int], bool], Any]] = {
    "llama": _llama, "gpt2": _gpt2, "bert": _bert, "t5": _t5, "bart": _bart,
}  # fmt: skip
