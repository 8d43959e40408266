"""Special tokens as a tokenizer itself puts them."""

from __future__ import annotations

from typing import Any


def automatic_bos(tokenizer: Any) -> int | None:
    """The beginning-of-text token, where the tokenizer itself puts one in front of every text."""
    if tokenizer is None or tokenizer.bos_token_id is None:
        return None
    first = tokenizer("a", add_special_tokens=True)["input_ids"][:1]
    return int(tokenizer.bos_token_id) if first == [tokenizer.bos_token_id] else None
