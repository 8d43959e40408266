"""Prompts and answers as the text that a model reads: as they are, or a conversation by the tokenizer's chat template.

A tokenizer without a template gets a plain transcript. A template is applied once, here, in the sandbox in which
transformers renders it, and the text that it gives is tokenized without adding special tokens, which it holds already.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from harness.contract import Meter
from harness.errors import StepError
from harness.plain_text import one_line

Prompt = str | Sequence[dict[str, str]]
NAMES = {"user": "User", "assistant": "Assistant", "system": "System"}


def by_template(prompt: Prompt, tokenizer: Any) -> bool:
    """Whether a prompt is rendered by the tokenizer's template: a conversation, where there is one."""
    return not isinstance(prompt, str) and bool(tokenizer.chat_template)


def render_prompt(prompt: Prompt, tokenizer: Any) -> str:
    """Text up to where the answer begins."""
    if isinstance(prompt, str):
        return prompt
    if not tokenizer.chat_template:
        return "".join(f"{NAMES[message['role']]}: {message['content']}\n\n" for message in prompt) + "Assistant: "
    return rendered(prompt, tokenizer, add_generation_prompt=True)


def render_answer(prompt: Prompt, answer: str, tokenizer: Any) -> str:
    """Text of the answer as it follows ``render_prompt``, with what the template ends a turn with."""
    if not by_template(prompt, tokenizer):
        return answer
    whole = rendered([*prompt, {"role": "assistant", "content": answer}], tokenizer)
    before = render_prompt(prompt, tokenizer)
    if not whole.startswith(before):
        raise StepError("the chat template writes a prompt otherwise once there is an answer: it cannot be trained on")
    return whole[len(before) :]


def rendered(messages: Sequence[dict[str, str]], tokenizer: Any, **options: Any) -> str:
    """A conversation as text by the tokenizer's template; ``StepError`` in one line where that refuses it."""
    try:
        return str(tokenizer.apply_chat_template(list(messages), tokenize=False, **options))
    except Exception as error:  # a template is a program of the model's: it may raise anything
        roles = one_line(", ".join(message["role"] for message in messages), 80)
        said = one_line(error, 200)
        raise StepError(f"the tokenizer's chat template refuses a conversation of {roles}: {said}") from None


def tell_rendering(meter: Meter, items: Sequence[Mapping[str, Any]], tokenizer: Any) -> None:
    """Record by what the prompts of items are rendered, where they are conversations."""
    if not items or isinstance(items[0]["prompt"], str):
        return
    if tokenizer.chat_template:
        meter.observe("conversations", {"by": "chat template", "template": template_mark(tokenizer)})
    else:
        meter.observe("conversations", {"by": "plain transcript"})


def template_mark(tokenizer: Any) -> str:
    """A hash that tells a tokenizer's chat template from another."""
    return hashlib.sha256(repr(tokenizer.chat_template).encode("utf-8", "replace")).hexdigest()[:16]
