"""Scores from a live transformers model: log-probabilities in batches, and the bytes that each token stands for."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from harness.models.loading import autocast
from harness.vocabularies.pieces import bytes_of_pieces

if TYPE_CHECKING:
    import numpy

# A label that carries no loss, as torch and transformers read it.
IGNORED = -100
BATCH_TOKENS = 8192
BYTES_IN_BATCH = 256 * 2**20


def batches(sequences: Sequence[Sequence[int]], vocabulary: int) -> Iterator[list[int]]:
    """Yield indices of ``sequences`` in batches of similar length, bounded in tokens and in bytes of logits."""
    limit = max(1, min(BATCH_TOKENS, BYTES_IN_BATCH // (4 * vocabulary)))
    order = sorted(range(len(sequences)), key=lambda index: (-len(sequences[index]), index))
    batch: list[int] = []
    for index in order:
        if batch and (len(batch) + 1) * len(sequences[batch[0]]) > limit:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def log_probabilities(model: Any, sequences: Sequence[Sequence[int]], precision: str) -> list[numpy.ndarray]:
    """For each sequence of n tokens, float32 [n-1, vocabulary] of natural log-probabilities."""
    found: list[Any] = [None] * len(sequences)
    for batch, log_probs in _forward(model, sequences, precision):
        for row, index in enumerate(batch):
            found[index] = log_probs[row, : len(sequences[index]) - 1].cpu().numpy()
    return found


def target_log_probabilities(model: Any, sequences: Sequence[Sequence[int]], precision: str) -> list[numpy.ndarray]:
    """For each sequence of n tokens, float32 [n-1]: the log-probability of each token after the first."""
    found: list[Any] = [None] * len(sequences)
    for batch, log_probs in _forward(model, sequences, precision):
        targets = padded([sequences[index][1:] for index in batch])[0]
        picked = log_probs.gather(2, targets.to(log_probs.device)[..., None])[..., 0].cpu()
        for row, index in enumerate(batch):
            found[index] = picked[row, : len(sequences[index]) - 1].numpy().copy()
    return found


def _forward(model: Any, sequences: Sequence[Sequence[int]], precision: str) -> Iterator[tuple[list[int], Any]]:
    """Batches of places and float32 [batch, longest - 1, vocabulary] on the model's device."""
    import torch

    device = next(model.parameters()).device
    vocabulary = entries(model)
    for batch in batches(sequences, vocabulary):
        ids, mask = padded([sequences[index] for index in batch])
        with torch.no_grad(), autocast(precision, device.type):
            logits = model(input_ids=ids.to(device), attention_mask=mask.to(device), use_cache=False).logits
        yield batch, torch.log_softmax(logits[:, :-1].float(), dim=-1)


def entries(model: Any) -> int:
    """Entries of a live model's vocabulary, also where its weights are divided over processes (DeepSpeed)."""
    weight = model.get_input_embeddings().weight
    return int(getattr(weight, "ds_shape", weight.shape)[0])


def padded(sequences: Sequence[Sequence[int]]) -> tuple[Any, Any]:
    """Ids and attention mask, int64 [sequences, longest]; zeros stand to the right of what is shorter."""
    import torch

    ids = torch.zeros((len(sequences), max(map(len, sequences))), dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, sequence in enumerate(sequences):
        ids[row, : len(sequence)] = torch.tensor(sequence, dtype=torch.long)
        mask[row, : len(sequence)] = 1
    return ids, mask


def token_bytes(tokenizer: Any) -> list[int]:
    """UTF-8 bytes that each token id stands for; 0 for special tokens and for the unknown one.

    Exact for byte-level pieces (one character is one byte), for SentencePiece's (``▁`` is one space, ``<0xAB>`` one
    byte) and for WordPiece's (the continuation mark is nothing).
    """
    special = set(tokenizer.all_special_ids)
    pieces = token_pieces(tokenizer)
    return [0 if piece is None or index in special else len(piece) for index, piece in enumerate(pieces)]


def token_pieces(tokenizer: Any) -> list[bytes | None]:
    """Bytes that each token id stands for; None for the unknown token and for special ones."""
    backend = tokenizer.backend_tokenizer
    return bytes_of_pieces(backend, json.loads(backend.to_str()))
