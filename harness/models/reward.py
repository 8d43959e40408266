"""Reward models: a transformer with one score, read at a text's last token; how they are made, opened and asked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.contract import Checkpoint, Hardware
from harness.errors import ModelError, StepError
from harness.models.checkpoint import content_hash
from harness.models.inspect import part_files
from harness.models.loading import SAFELY, autocast, load_tokenizer, weight_dtype
from harness.models.scoring import batches, padded, token_pieces

# Bytes that stand in no UTF-8 text.
_NEVER = tuple(bytes([value]) for value in (0xC0, 0xC1, *range(0xF5, 0x100)))


def with_padding_of_its_own(tokenizer: Any) -> Any:
    """Give ``tokenizer`` a padding token that is not its end of text, and return it.

    Trainers that mask padding would otherwise mask the end of text too: a policy could never learn to end, and a reward
    model would not see that a text has. The unknown token serves, or a byte that no UTF-8 text holds; ``StepError``
    where there is neither, because a new entry of the vocabulary would make another model.
    """
    end = tokenizer.eos_token_id
    if tokenizer.pad_token_id not in (None, end):
        return tokenizer
    spare = tokenizer.unk_token_id
    if spare in (None, end):
        pieces = token_pieces(tokenizer)
        special = set(tokenizer.all_special_ids)
        spare = next((i for i, piece in enumerate(pieces) if piece in _NEVER and i not in special), None)
    if spare is None:
        raise StepError("the tokenizer has no token to pad with but its end of text: give it a padding token")
    tokenizer.pad_token = tokenizer.convert_ids_to_tokens(spare)
    return tokenizer


def alignment_tokenizer(checkpoint: Checkpoint) -> Any:
    """The checkpoint's tokenizer with a padding token of its own."""
    return with_padding_of_its_own(load_tokenizer(checkpoint))


def open_reward_model(
    folder: Path, precision: str, hardware: Hardware, tokenizer: Any, attention: str | None = None
) -> Any:
    """A model with a score, from a reward model's folder or, with a fresh head, from a language model's.

    The head is drawn from torch's current seed.
    """
    from transformers import AutoModelForSequenceClassification

    options = {"attn_implementation": attention} if attention else {}
    try:
        model = AutoModelForSequenceClassification.from_pretrained(
            str(folder), num_labels=1, dtype=weight_dtype(precision), weights_only=True, **SAFELY, **options
        )
    except (OSError, ValueError) as error:
        raise ModelError(f"no reward model can be made of {folder.name}: {str(error).splitlines()[0]}") from error
    if not hasattr(model, "score"):
        raise ModelError(f"{type(model).__name__} has no score at each token, as a reward model has")
    model.config.pad_token_id = tokenizer.pad_token_id
    return model.to(hardware.device)


def reference_of(checkpoint: Checkpoint) -> Checkpoint:
    """The checkpoint that an alignment began with, as its result remembers it."""
    parts = {name: path for name, path in checkpoint.parts.items() if name not in ("peft", "reference", "reward")}
    return Checkpoint(checkpoint.kind, {**parts, "model": checkpoint.parts["reference"]})


def check_tokenizer(reward: Checkpoint, policy: Checkpoint) -> None:
    """``StepError`` where a reward model reads other tokens than the policy writes."""
    marks = [content_hash(part_files(one, "tokenizer")) for one in (reward, policy) if "tokenizer" in one.parts]
    if len(set(marks)) > 1:
        raise StepError("the reward model has another tokenizer than the policy: train both from the same one")


def rewards(model: Any, sequences: Sequence[Sequence[int]], precision: str) -> list[float]:
    """Score of each sequence of token ids, read at its last one."""
    import torch

    device = next(model.parameters()).device
    found: list[float] = [0.0] * len(sequences)
    for batch in batches(sequences, 1):
        ids, mask = padded([sequences[index] for index in batch])
        ids = torch.where(mask.bool(), ids, torch.tensor(model.config.pad_token_id))
        with torch.no_grad(), autocast(precision, device.type):
            scores = model(input_ids=ids.to(device), attention_mask=mask.to(device)).logits[:, 0].float().tolist()
        for index, score in zip(batch, scores, strict=True):
            found[index] = score
    return found
