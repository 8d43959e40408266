"""Adapters merged into the weights, saved, and compared with the model that has them beside its weights."""

from __future__ import annotations

from typing import Any

from harness.contract import Checkpoint, Hardware, Job
from harness.models.loading import autocast, load_model, load_plain, weight_dtype
from harness.models.scoring import entries

ROWS, LENGTH = 4, 64
STRIDE = 7919


def merge(job: Job) -> Checkpoint:
    """Merge in float32, save in the precision's type, and report how far the logits of what was saved moved.

    ``StepError`` where the adapters cannot be merged, and for weights that are stored quantised.
    """
    meter, folder = job.meter, job.part("model")
    with meter.span("compare"):
        before = _logits(job.checkpoint, job.precision, job.hardware)
    with meter.span("merge"):
        model = load_plain(job.checkpoint, job.hardware, "merge").to(weight_dtype(job.precision))
    with meter.span("save"):
        model.save_pretrained(folder)
    del model
    made = job.checkpoint.with_model(folder)
    with meter.span("compare"):
        _compare(before, _logits(made, job.precision, job.hardware), job)
    return made


def _compare(before: Any, after: Any, job: Job) -> None:
    import torch

    job.meter.metric("logit_difference", float((before - after).abs().max()))
    same = (before.argmax(-1) == after.argmax(-1)).to(torch.float32).mean()
    job.meter.metric("top1_agreement", float(same))
    job.meter.observe("compared", {
        "positions": before.shape[0] * before.shape[1], "largest_logit": float(before.abs().max()),
    })  # fmt: skip


def _logits(checkpoint: Checkpoint, precision: str, hardware: Hardware) -> Any:
    """Logits of fixed token ids, float32 [rows, length, vocabulary], adapters unmerged where there are any."""
    import torch

    model = load_model(checkpoint, precision, hardware).eval()
    context = int(getattr(model.config, "max_position_embeddings", LENGTH))
    columns, vocabulary = min(LENGTH, context), entries(model)
    ids = [[(row + column * STRIDE) % vocabulary for column in range(columns)] for row in range(ROWS)]
    with torch.no_grad(), autocast(precision, hardware.device):
        return model(input_ids=torch.tensor(ids, device=hardware.device)).logits.float().cpu()
