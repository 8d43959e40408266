"""A Llama or GPT-2 of transformers as a GGUF file in 32 bits: configuration, tokenizer and weights.

Names come from the gguf package's tensor maps. Two things are laid out anew: llama.cpp rotates neighbouring entries of
a head where transformers rotates its halves, so the rows of a Llama's query and key weights change places; and GPT-2's
``Conv1D`` weights are transposed. What the format cannot say is refused, never approximated.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import StepError
from harness.models.gguf.vocabulary import write_vocabulary

if TYPE_CHECKING:
    import numpy

ARCHITECTURES = {"llama": "LLAMA", "gpt2": "GPT2"}


def write_model(model: Any, tokenizer: Any, file: Path) -> dict[str, Any]:
    """Write a live model with plain weights to ``file``, all in float32; return what was done with its tokenizer.

    ``StepError`` for an architecture, an activation or a kind of rotary embedding that is not converted.
    """
    import gguf

    kind = model.config.model_type
    if kind not in ARCHITECTURES:
        raise StepError(f"gguf converts {' and '.join(ARCHITECTURES)} models, this one is {kind}")
    writer = gguf.GGUFWriter(file, kind)
    _PARAMETERS[kind](writer, model.config)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    vocabulary = write_vocabulary(writer, tokenizer, int(model.config.vocab_size))
    names = gguf.get_tensor_name_map(getattr(gguf.MODEL_ARCH, ARCHITECTURES[kind]), model.config.num_hidden_layers)
    for name, weight in _weights(model):
        stem, _, suffix = name.rpartition(".")
        target = names.get_name(stem)
        if target is None:
            raise StepError(f"gguf has no place for the tensor {name} in a {kind} model")
        writer.add_tensor(f"{target}.{suffix}", _LAYOUT[kind](stem, weight, model.config))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return vocabulary


def tensor_name(layer: str, kind: str, layers: int) -> str:
    """Name in a GGUF file of the weight of a model's layer (``model.layers.0.mlp.up_proj``)."""
    import gguf

    found = gguf.get_tensor_name_map(getattr(gguf.MODEL_ARCH, ARCHITECTURES[kind]), layers).get_name(layer)
    return f"{found}.weight"


def _weights(model: Any) -> list[tuple[str, numpy.ndarray]]:
    """Parameters by name, tied ones once, float32."""
    return [(name, weight.detach().float().cpu().numpy()) for name, weight in model.named_parameters()]


def _llama_parameters(writer: Any, config: Any) -> None:
    rotary = dict(getattr(config, "rope_parameters", None) or {})
    if rotary.get("rope_type", "default") != "default":
        raise StepError(f"gguf converts plain rotary embeddings, this model scales them ('{rotary['rope_type']}')")
    if config.hidden_act not in ("silu", "swish"):
        raise StepError(f"llama.cpp computes a Llama with silu, this one has {config.hidden_act}")
    size = config.head_dim or config.hidden_size // config.num_attention_heads
    _common(writer, config, int(config.max_position_embeddings), int(config.hidden_size), int(config.intermediate_size))
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(size)
    writer.add_value_length(size)
    writer.add_rope_dimension_count(size)
    writer.add_rope_freq_base(float(rotary.get("rope_theta", 10000.0)))
    writer.add_layer_norm_rms_eps(float(config.rms_norm_eps))
    writer.add_vocab_size(int(config.vocab_size))


def _gpt2_parameters(writer: Any, config: Any) -> None:
    if config.activation_function != "gelu_new":
        raise StepError(f"llama.cpp computes GPT-2 with gelu_new, this model has {config.activation_function}")
    if config.scale_attn_by_inverse_layer_idx or config.reorder_and_upcast_attn or not config.scale_attn_weights:
        raise StepError("llama.cpp computes GPT-2's plain attention, this model's configuration changes it")
    _common(writer, config, int(config.n_positions), int(config.n_embd), int(config.n_inner or 4 * config.n_embd))
    writer.add_layer_norm_eps(float(config.layer_norm_epsilon))


def _common(writer: Any, config: Any, context: int, width: int, inner: int) -> None:
    writer.add_context_length(context)
    writer.add_embedding_length(width)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(inner)
    writer.add_head_count(config.num_attention_heads)


def _llama_layout(stem: str, weight: numpy.ndarray, config: Any) -> numpy.ndarray:
    """Rows of the query and key weights in llama.cpp's order: [heads, 2, half, ...] to [heads, half, 2, ...]."""
    if not stem.endswith(("q_proj", "k_proj")):
        return weight
    heads = config.num_attention_heads if stem.endswith("q_proj") else config.num_key_value_heads
    split = weight.reshape(heads, 2, weight.shape[0] // heads // 2, *weight.shape[1:])
    return split.swapaxes(1, 2).reshape(weight.shape).copy()


def _gpt2_layout(stem: str, weight: numpy.ndarray, config: Any) -> numpy.ndarray:
    transposed = weight.ndim == 2 and stem.endswith(("c_attn", "c_proj", "c_fc"))
    return weight.T.copy() if transposed else weight


_PARAMETERS: dict[str, Callable[[Any, Any], None]] = {"llama": _llama_parameters, "gpt2": _gpt2_parameters}
_LAYOUT: dict[str, Callable[[str, Any, Any], Any]] = {"llama": _llama_layout, "gpt2": _gpt2_layout}
