"""Tokens that an objective needs and a learnt vocabulary has not: padding, a mask, sentinels."""

from __future__ import annotations

from typing import Any

from harness.vocabularies.learning import PAD

MASK = "<|mask|>"
SENTINELS = 100
_SENTINEL = "<|extra_{}|>"


def add_mask(tokenizer: Any) -> None:
    """Add ``<|mask|>`` where the tokenizer has no mask token, and a padding token of its own."""
    _add_padding(tokenizer)
    if tokenizer.mask_token_id is None:
        tokenizer.add_special_tokens({"mask_token": MASK})


def add_sentinels(tokenizer: Any) -> None:
    """Add the 100 sentinels ``<|extra_0|>`` ... (as many as T5 has) where there are none, and a padding token."""
    _add_padding(tokenizer)
    if not sentinel_ids(tokenizer):
        names = [_SENTINEL.format(index) for index in range(SENTINELS)]
        tokenizer.add_tokens(names, special_tokens=True)


def sentinel_ids(tokenizer: Any) -> list[int]:
    """Ids of the sentinels in their order (``<extra_id_0>`` ... of a published T5 too); empty where there are none."""
    vocabulary = tokenizer.get_vocab()
    for pattern in (_SENTINEL, "<extra_id_{}>"):
        found = [vocabulary.get(pattern.format(index)) for index in range(SENTINELS)]
        if found[0] is not None:
            return [token for token in found if token is not None]
    return []


def _add_padding(tokenizer: Any) -> None:
    """Give the tokenizer a padding token that is not its end of text, whose embedding must learn."""
    if tokenizer.pad_token_id is None or tokenizer.pad_token_id == tokenizer.eos_token_id:
        tokenizer.add_special_tokens({"pad_token": PAD})
