"""Greedy generation until the end of text, for causal models and encoder-decoders alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.models.loading import autocast
from harness.models.scoring import batches, entries, padded

PROMPTS_AT_ONCE = 32


def complete(
    model: Any, prompts: Sequence[Sequence[int]], new_tokens: int, precision: str, end: int | None
) -> list[list[int]]:
    """For each prompt at most ``new_tokens`` ids, without the end of text, in the order of ``prompts``.

    A causal model goes on from its prompt; an encoder-decoder reads it and begins a text of its own.
    """
    found: list[list[int]] = [[] for _ in prompts]
    for batch in batches(prompts, entries(model)):
        for start in range(0, len(batch), PROMPTS_AT_ONCE):
            part = batch[start : start + PROMPTS_AT_ONCE]
            generated = _generate(model, [prompts[index] for index in part], new_tokens, precision, end)
            for index, ids in zip(part, generated, strict=True):
                found[index] = ids[: ids.index(end)] if end in ids else ids
    return found


def _generate(
    model: Any, prompts: list[Sequence[int]], new_tokens: int, precision: str, end: int | None
) -> list[list[int]]:
    import torch

    device = next(model.parameters()).device
    reads_apart = bool(model.config.is_encoder_decoder)
    # What is generated stands to the right, so that a causal model's prompts are padded on their left.
    ids, mask = padded(prompts) if reads_apart else (side.flip(1) for side in padded([row[::-1] for row in prompts]))
    with torch.no_grad(), autocast(precision, device.type):
        out = model.generate(
            input_ids=ids.to(device), attention_mask=mask.to(device), max_new_tokens=new_tokens, do_sample=False,
            num_beams=1, use_cache=True, eos_token_id=end, pad_token_id=0 if end is None else end,
        )  # fmt: skip
    generated: list[list[int]] = out[:, 1 if reads_apart else ids.shape[1] :].tolist()
    return generated
