"""Greedy generation until the end of text, for causal models and encoder-decoders alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from harness.models.loading import autocast
from harness.models.scoring import batches, entries, padded

PROMPTS_AT_ONCE = 32
# Whatever a published model asks for in its generation_config.json, every model is read greedily.
PLAINLY: dict[str, Any] = {
    "do_sample": False, "num_beams": 1, "repetition_penalty": 1.0, "no_repeat_ngram_size": 0, "min_length": 0,
    "renormalize_logits": False, "length_penalty": 1.0,
}  # fmt: skip
# Between two looks at whether texts have ended: each look reads all that was generated.
TOKENS_BETWEEN_LOOKS = 8


Ends = Callable[[Sequence[int]], bool]
"""Whether a text is ended by the ids generated so far."""


def complete(
    model: Any, prompts: Sequence[Sequence[int]], new_tokens: int, precision: str, end: int | None,
    ends: Ends | None = None,
) -> list[list[int]]:  # fmt: skip
    """For each prompt at most ``new_tokens`` ids, without the end of text, in the order of ``prompts``.

    A causal model goes on from its prompt; an encoder-decoder reads it and begins a text of its own. One that ``ends``
    may go on for a few tokens.
    """
    found: list[list[int]] = [[] for _ in prompts]
    for batch in batches(prompts, entries(model)):
        for start in range(0, len(batch), PROMPTS_AT_ONCE):
            part = batch[start : start + PROMPTS_AT_ONCE]
            generated = _generate(model, [prompts[index] for index in part], new_tokens, precision, end, ends)
            for index, ids in zip(part, generated, strict=True):
                found[index] = ids[: ids.index(end)] if end in ids else ids
    return found


def _generate(
    model: Any, prompts: list[Sequence[int]], new_tokens: int, precision: str, end: int | None, ends: Ends | None
) -> list[list[int]]:
    import torch

    device = next(model.parameters()).device
    reads_apart = bool(model.config.is_encoder_decoder)
    # What is generated stands to the right, so that a causal model's prompts are padded on their left.
    ids, mask = padded(prompts) if reads_apart else (side.flip(1) for side in padded([row[::-1] for row in prompts]))
    with torch.no_grad(), autocast(precision, device.type):
        out = model.generate(
            input_ids=ids.to(device), attention_mask=mask.to(device), max_new_tokens=new_tokens,
            use_cache=True, eos_token_id=end, pad_token_id=0 if end is None else end, **PLAINLY,
            stopping_criteria=None if ends is None else [_stop(ends, 1 if reads_apart else ids.shape[1])],
        )  # fmt: skip
    generated: list[list[int]] = out[:, 1 if reads_apart else ids.shape[1] :].tolist()
    return generated


def _stop(ends: Ends, start: int) -> Callable[..., Any]:
    """What ``generate`` asks after every token: which rows are ended, by what they hold from ``start`` on."""
    import torch

    def stop(ids: Any, _scores: Any, **_: Any) -> Any:
        new = ids[:, start:]
        if new.shape[1] % TOKENS_BETWEEN_LOOKS:
            return torch.zeros(len(ids), dtype=torch.bool, device=ids.device)
        return torch.tensor([ends(row) for row in new.tolist()], dtype=torch.bool, device=ids.device)

    return stop
