"""Chat templates of well-known models, and a tiny model with one in a folder, as such models come."""

from __future__ import annotations

from pathlib import Path
from typing import Any

# Qwen's and SmolLM's: an end that is the end of text, and a line break behind it.
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'"
    " }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
# Llama 3's: the beginning of text is in it, contents are trimmed.
LLAMA_3 = (
    "{{ bos_token }}{% for message in messages %}{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'"
    " + message['content'] | trim + '<|eot_id|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
# Gemma's, in short: no system, and user and assistant in turns.
GEMMA = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate') }}{% endif %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
TEMPLATES = {"chatml": CHATML, "llama-3": LLAMA_3, "gemma": GEMMA}
ENDS = {"chatml": "<|im_end|>", "llama-3": "<|eot_id|>", "gemma": "<|im_end|>"}
MARKS = ["<|bos|>", "<|im_start|>", "<|im_end|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]


def chat_tokenizer(name: str, *, puts_bos: bool = False) -> Any:
    """A tokenizer of single bytes with a template; ``puts_bos``: it puts a beginning of text in front itself."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = ["<unk>", *sorted(pre_tokenizers.ByteLevel.alphabet()), *MARKS]
    backend = Tokenizer(models.BPE({word: index for index, word in enumerate(words)}, []))
    backend.add_special_tokens([AddedToken(mark, special=True) for mark in MARKS])
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    if puts_bos:
        place = words.index("<|bos|>")
        backend.post_processor = processors.TemplateProcessing("<|bos|> $A", special_tokens=[("<|bos|>", place)])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<|bos|>", eos_token=ENDS[name])
    tokenizer.chat_template = TEMPLATES[name]
    return tokenizer


def save_chat_model(folder: Path, name: str) -> Path:
    """A tiny Llama with random weights and a tokenizer with a template."""
    import torch

    from harness.models.architectures import auto_class, configuration

    torch.manual_seed(0)
    sizes = {"hidden_size": 64, "intermediate_size": 128, "layers": 2, "heads": 4, "kv_heads": 2, "context": 256}
    config = configuration({"architecture": "llama", "vocab_size": 300, **sizes})
    auto_class("causal").from_config(config).save_pretrained(folder)
    chat_tokenizer(name).save_pretrained(folder)
    return folder
