"""Conversations in data: messages ``{role, content}``, or ``{from, value}`` with the roles human and gpt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.errors import DataError

ROLES = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "system": "system"}

Message = dict[str, str]


def conversation(value: Any, where: str) -> list[Message]:
    """Messages in their order, as ``{role, content}``; ``DataError`` that names ``where`` for anything else."""
    messages = value if isinstance(value, list) else [value]
    if not messages:
        raise DataError(f"{where} holds a conversation without a message")
    return [_message(message, where) for message in messages]


def last_message(value: Any, where: str) -> str:
    """Content of an answer: of one message, or of the last one where the conversation before it is repeated."""
    last = conversation(value, where)[-1]
    if last["role"] != "assistant":
        raise DataError(f"{where}: the last message is the {last['role']}'s, an answer is the assistant's")
    return last["content"]


def asked_of(value: Any) -> Any:
    """The messages up to the assistant's last one, where the answer stands in the conversation itself."""
    if not isinstance(value, list) or not value or not isinstance(value[-1], Mapping):
        return value
    last = value[-1].get("role", value[-1].get("from"))
    return value[:-1] if isinstance(last, str) and ROLES.get(last) == "assistant" else value


def said_by_user(prompt: str | list[Message]) -> list[Message]:
    """A prompt as a conversation: text is one message of the user."""
    return [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt


def _message(message: Any, where: str) -> Message:
    if not isinstance(message, Mapping):
        raise DataError(f"{where} holds {type(message).__name__}, not text or messages")
    role, content = message.get("role", message.get("from")), message.get("content", message.get("value"))
    if role not in ROLES or not isinstance(content, str):
        known = ", ".join(sorted(ROLES))
        raise DataError(f"{where}: a message needs role and content, or from and value (known roles: {known})")
    return {"role": ROLES[role], "content": content}
