"""Shapes of published models by name, so that what they take can be asked without any file of theirs.

Each is the part of its ``config.json`` that decides its size; parameter counts as published are in the tests.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def _llama(hidden: int, inner: int, layers: int, heads: int, **rest: Any) -> dict[str, Any]:
    sizes = {"hidden_size": hidden, "intermediate_size": inner, "num_hidden_layers": layers}
    return {"model_type": "llama", **sizes, "num_attention_heads": heads, "vocab_size": 32_000,
            "max_position_embeddings": 2048, "tie_word_embeddings": False, **rest}  # fmt: skip


def _gpt2(hidden: int, layers: int, heads: int, **rest: Any) -> dict[str, Any]:
    return {"model_type": "gpt2", "n_embd": hidden, "n_layer": layers, "n_head": heads, "vocab_size": 50_257,
            "n_positions": 1024, **rest}  # fmt: skip


# The class that each type of them is, as its ``config.json`` names it.
LANGUAGE_MODELS = {
    "llama": "LlamaForCausalLM", "gpt2": "GPT2LMHeadModel", "bert": "BertForMaskedLM",
    "distilbert": "DistilBertForMaskedLM", "t5": "T5ForConditionalGeneration", "bart": "BartForConditionalGeneration",
}  # fmt: skip
_LLAMA_3 = {"vocab_size": 128_256, "max_position_embeddings": 8192, "num_key_value_heads": 8}

# Touvron et al. 2023 (arXiv:2302.13971, 2307.09288); Llama 3 (arXiv:2407.21783); Radford et al. 2019; Sanh et al. 2019;
# Brown et al. 2020 (arXiv:2005.14165, table 2.1); Devlin et al. 2018; Raffel et al. 2020; Lewis et al. 2020.
PUBLISHED: Mapping[str, Mapping[str, Any]] = {
    "llama-7b": _llama(4096, 11_008, 32, 32),
    "llama-13b": _llama(5120, 13_824, 40, 40),
    "llama-30b": _llama(6656, 17_920, 60, 52),
    "llama-65b": _llama(8192, 22_016, 80, 64),
    "llama-2-70b": _llama(8192, 28_672, 80, 64, num_key_value_heads=8, max_position_embeddings=4096),
    "llama-3-8b": _llama(4096, 14_336, 32, 32, **_LLAMA_3),
    "llama-3-70b": _llama(8192, 28_672, 80, 64, **_LLAMA_3),
    "gpt2": _gpt2(768, 12, 12),
    "gpt2-medium": _gpt2(1024, 24, 16),
    "gpt2-large": _gpt2(1280, 36, 20),
    "gpt2-xl": _gpt2(1600, 48, 25),
    "distilgpt2": _gpt2(768, 6, 12),
    "gpt3-175b": _gpt2(12_288, 96, 96, n_positions=2048),
    "bert-base": {
        "model_type": "bert", "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12,
        "num_attention_heads": 12, "vocab_size": 30_522, "max_position_embeddings": 512,
    },
    "bert-large": {
        "model_type": "bert", "hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24,
        "num_attention_heads": 16, "vocab_size": 30_522, "max_position_embeddings": 512,
    },
    "distilbert-base": {
        "model_type": "distilbert", "dim": 768, "hidden_dim": 3072, "n_layers": 6, "n_heads": 12, "vocab_size": 30_522,
        "max_position_embeddings": 512,
    },
    "t5-small": {
        "model_type": "t5", "d_model": 512, "d_ff": 2048, "d_kv": 64, "num_layers": 6, "num_heads": 8,
        "vocab_size": 32_128,
    },
    "t5-base": {
        "model_type": "t5", "d_model": 768, "d_ff": 3072, "d_kv": 64, "num_layers": 12, "num_heads": 12,
        "vocab_size": 32_128,
    },
    "bart-base": {
        "model_type": "bart", "d_model": 768, "encoder_ffn_dim": 3072, "decoder_ffn_dim": 3072, "encoder_layers": 6,
        "decoder_layers": 6, "encoder_attention_heads": 12, "vocab_size": 50_265, "max_position_embeddings": 1024,
    },
    "bart-large": {
        "model_type": "bart", "d_model": 1024, "encoder_ffn_dim": 4096, "decoder_ffn_dim": 4096, "encoder_layers": 12,
        "decoder_layers": 12, "encoder_attention_heads": 16, "vocab_size": 50_265, "max_position_embeddings": 1024,
    },
}  # fmt: skip
