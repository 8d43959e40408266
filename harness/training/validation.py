"""Losses of a live model on held-out sequences: the points of learning curves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from harness.errors import DataError
from harness.models.scoring import target_log_probabilities
from harness.training.examples import Scored


def mean_loss(model: Any, held_out: Sequence[Scored], precision: str) -> dict[str, float]:
    """Validation loss (nats per counted token) and bits per byte of the counted tokens.

    ``DataError`` where nothing is held out: every validation example is longer than the budget's sequences.
    """
    if not held_out:
        raise DataError("no validation example fits the budget's sequence_length: raise it, or give shorter examples")
    nll, tokens, size = 0.0, 0, 0
    scores = target_log_probabilities(model, [item.ids for item in held_out], precision)
    for item, log_probs in zip(held_out, scores, strict=True):
        nll -= float(log_probs[item.counted].sum(dtype="float64"))
        tokens += sum(item.counted)
        size += item.bytes
    return {"validation_loss": nll / tokens, "validation_bits_per_byte": nll / math.log(2) / size}
