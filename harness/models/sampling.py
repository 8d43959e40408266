"""Sampled answers of a causal model, the same for the same seed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from harness.models.completion import PROMPTS_AT_ONCE
from harness.models.loading import autocast
from harness.models.scoring import padded


def sample(
    model: Any, prompts: Sequence[Sequence[int]], new_tokens: int, temperature: float, precision: str, end: int | None,
    *, seed: int,
) -> list[list[int]]:  # fmt: skip
    """For each prompt at most ``new_tokens`` sampled ids, the end of text included where it was reached."""
    import torch

    padding = 0 if end is None else end
    device = next(model.parameters()).device
    found: list[list[int]] = []
    for start in range(0, len(prompts), PROMPTS_AT_ONCE):
        part = prompts[start : start + PROMPTS_AT_ONCE]
        # What is generated stands to the right, so prompts are padded on their left.
        ids, mask = (side.flip(1) for side in padded([row[::-1] for row in part]))
        torch.manual_seed(seed * 1_000_003 + start)
        with torch.no_grad(), autocast(precision, device.type), plain_generation(model, end, padding):
            out = model.generate(
                input_ids=ids.to(device), attention_mask=mask.to(device), max_new_tokens=new_tokens, do_sample=True,
                temperature=temperature, top_k=0, top_p=1.0, num_beams=1, use_cache=True, eos_token_id=end,
                pad_token_id=padding,
            )  # fmt: skip
        for row in out[:, ids.shape[1] :].tolist():
            found.append(row[: row.index(end) + 1] if end in row else row)
    return found


@contextmanager
def plain_generation(model: Any, end: int | None, padding: int) -> Iterator[None]:
    """Context in which a model generates by what it is told alone.

    What its own configuration says beside (a repetition penalty, say) would change the distribution that is sampled,
    which would no longer be that of its log-probabilities.
    """
    from transformers import GenerationConfig

    kept = model.generation_config
    model.generation_config = GenerationConfig(eos_token_id=end, pad_token_id=padding)
    try:
        yield
    finally:
        model.generation_config = kept
