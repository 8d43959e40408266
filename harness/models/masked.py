"""A masked language model behind a scorer: log-probabilities of what stands at given positions of corrupted text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.contract import Job
from harness.models.live import LiveModel
from harness.models.loading import autocast, load_model, load_tokenizer
from harness.models.scoring import batches, entries, padded

if TYPE_CHECKING:
    import numpy


@dataclass(frozen=True)
class Masked:
    """A corrupted sequence: the ids that the model sees, the positions to predict and what really stood there."""

    ids: list[int]
    positions: list[int]
    targets: list[int]


@dataclass(frozen=True)
class Predicted:
    """For the m positions of one sequence: float32 [m] log p(target), and bool [m] whether it ranked first."""

    log_probabilities: numpy.ndarray
    correct: numpy.ndarray


def open_scorer(job: Job) -> MaskedScorer:
    """Open the job's masked model with transformers at the job's precision."""
    model = load_model(job.checkpoint, job.precision, job.hardware)
    tokenizer = load_tokenizer(job.checkpoint) if "tokenizer" in job.checkpoint.parts else None
    return MaskedScorer(model, tokenizer, job.precision)


class MaskedScorer(LiveModel):
    """Predicts masked tokens with a live transformers model."""

    @property
    def mask_id(self) -> int | None:
        """The tokenizer's mask token."""
        return None if self.tokenizer is None else self.tokenizer.mask_token_id

    def predict(self, sequences: Sequence[Masked]) -> list[Predicted]:
        """For each sequence what the model says of its positions."""
        return predict(self.model, sequences, self.precision)


def predict(model: Any, sequences: Sequence[Masked], precision: str) -> list[Predicted]:
    """Predictions of a live model, in the order of ``sequences``; one forward pass per batch of similar lengths."""
    import torch

    found: list[Any] = [None] * len(sequences)
    device = next(model.parameters()).device
    for batch in batches([item.ids for item in sequences], entries(model)):
        ids, mask = padded([sequences[index].ids for index in batch])
        with torch.no_grad(), autocast(precision, device.type):
            logits = model(input_ids=ids.to(device), attention_mask=mask.to(device)).logits
        for row, index in enumerate(batch):
            item = sequences[index]
            targets = torch.tensor(item.targets, dtype=torch.long, device=device)
            log_probs = torch.log_softmax(logits[row, item.positions].float(), dim=-1)
            picked = log_probs.gather(1, targets[:, None])[:, 0]
            right = log_probs.argmax(dim=-1) == targets
            found[index] = Predicted(picked.cpu().numpy(), right.cpu().numpy())
    return found
