"""Prompts and answers as the text that a model reads: as they are, or a conversation by the tokenizer's chat template.

A tokenizer without a template gets a plain transcript. A template is applied once, here, and the text that it gives is
tokenized without adding special tokens, which it holds already.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.errors import StepError

Prompt = str | Sequence[dict[str, str]]
NAMES = {"user": "User", "assistant": "Assistant", "system": "System"}


def render_prompt(prompt: Prompt, tokenizer: Any) -> str:
    """Text up to where the answer begins."""
    if isinstance(prompt, str):
        return prompt
    if not tokenizer.chat_template:
        return "".join(f"{NAMES[message['role']]}: {message['content']}\n\n" for message in prompt) + "Assistant: "
    return str(tokenizer.apply_chat_template(list(prompt), tokenize=False, add_generation_prompt=True))


def render_answer(prompt: Prompt, answer: str, tokenizer: Any) -> str:
    """Text of the answer as it follows ``render_prompt``, with what the template ends a turn with."""
    if isinstance(prompt, str) or not tokenizer.chat_template:
        return answer
    turns = [*prompt, {"role": "assistant", "content": answer}]
    whole = str(tokenizer.apply_chat_template(turns, tokenize=False))
    before = render_prompt(prompt, tokenizer)
    if not whole.startswith(before):
        raise StepError("the chat template writes a prompt otherwise once there is an answer: it cannot be trained on")
    return whole[len(before) :]
