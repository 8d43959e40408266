"""An encoder-decoder behind a scorer: log-probabilities of targets given their sources."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from harness.contract import Job
from harness.models.completion import complete
from harness.models.live import LiveModel
from harness.models.loading import autocast, load_model, load_tokenizer
from harness.models.scoring import IGNORED, batches, entries, padded

if TYPE_CHECKING:
    import numpy

Pairs = Sequence[tuple[Sequence[int], Sequence[int]]]


def open_scorer(job: Job) -> EncoderDecoderScorer:
    """Open the job's encoder-decoder with transformers at the job's precision."""
    model = load_model(job.checkpoint, job.precision, job.hardware)
    tokenizer = load_tokenizer(job.checkpoint) if "tokenizer" in job.checkpoint.parts else None
    return EncoderDecoderScorer(model, tokenizer, job.precision)


class EncoderDecoderScorer(LiveModel):
    """Scores and generates targets with a live transformers model, which reads its prompt apart from them."""

    reads_apart = True

    def complete(self, prompts: Sequence[Sequence[int]], new_tokens: int) -> list[list[int]]:
        """Greedy generation for each source until the end of text, at most ``new_tokens`` ids."""
        return complete(self.model, prompts, new_tokens, self.precision, self.eos_id)

    def target_log_probabilities(self, pairs: Pairs) -> list[numpy.ndarray]:
        """For each (source, target of m tokens), float32 [m]: log p(token | source, target's tokens before it)."""
        return target_log_probabilities(self.model, pairs, self.precision)


def collate(pairs: Pairs, padding: int) -> dict[str, Any]:
    """Tensors int64 [pairs, longest]: ``input_ids``, ``attention_mask`` and ``labels`` (-100 past a target's end)."""
    ids, mask = padded([source for source, _ in pairs])
    labels, there = padded([target for _, target in pairs])
    return {
        "input_ids": ids.masked_fill(mask == 0, padding),
        "attention_mask": mask,
        "labels": labels.masked_fill(there == 0, IGNORED),
    }


def with_decoder_inputs(model: Any, batch: dict[str, Any]) -> dict[str, Any]:
    """The batch with what the decoder reads: its start token and the labels, moved by one."""
    return {**batch, "decoder_input_ids": model.prepare_decoder_input_ids_from_labels(labels=batch["labels"])}


def target_log_probabilities(model: Any, pairs: Pairs, precision: str) -> list[numpy.ndarray]:
    """Scores of a live model, in the order of ``pairs``; one forward pass per batch of similar lengths."""
    import torch

    found: list[Any] = [None] * len(pairs)
    device = next(model.parameters()).device
    vocabulary = entries(model)
    for batch in batches([[*source, *target] for source, target in pairs], vocabulary):
        inputs = with_decoder_inputs(model, collate([pairs[index] for index in batch], model.config.pad_token_id or 0))
        labels = inputs.pop("labels")
        inputs = {name: value.to(device) for name, value in inputs.items()}
        with torch.no_grad(), autocast(precision, device.type):
            logits = model(**inputs, use_cache=False).logits
        log_probs = torch.log_softmax(logits.float(), dim=-1)
        picked = log_probs.gather(2, labels.clamp(min=0).to(device)[..., None])[..., 0].cpu()
        for row, index in enumerate(batch):
            found[index] = picked[row, : len(pairs[index][1])].numpy().copy()
    return found
