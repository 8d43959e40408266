"""Predicted beside measured: what a training should take by arithmetic, said before its first step."""

from __future__ import annotations

import gc
import json
from typing import Any

from harness.contract import Job, TrainingSetup
from harness.errors import ModelError
from harness.memory.held import Held
from harness.memory.prediction import Prediction, predict_training

PAGE = 4096


def foretell(job: Job, setup: TrainingSetup, tokenizer: Any) -> None:
    """Tell the meter what is predicted for this training, and what of the memory in use belongs to it already."""
    job.meter.training_begins(live_tensor_bytes())
    found = predicted(job, setup, len(tokenizer))
    if found is None:
        return
    job.meter.metric("predicted_memory_bytes", found.peak)
    parts = {name: round(value) for name, value in found.parts.items()}
    job.meter.observe("predicted_memory", {"at": found.at, "parts": parts})


def predicted(job: Job, setup: TrainingSetup, entries: int) -> Prediction | None:
    """The prediction for the checkpoint that the job starts from; None where technique or layout are not known.

    An architecture alone gets as many embeddings as the tokenizer has ``entries``.
    """
    given = job.checkpoint
    part = given.parts.get("model") or given.parts.get("config")
    if part is None:
        return None
    try:
        model = Held.of(json.loads((part / "config.json").read_text()))
    except ModelError:
        return None
    held = job.holds(model.with_vocabulary(entries) if given.kind == "blank" else model)
    return None if held is None else predict_training(held, setup, job.hardware)


def live_tensor_bytes() -> int:
    """Bytes of the storages of every tensor of this process on the CPU that Python knows of, all of them paged in.

    Weights that transformers maps from their file are in memory only once something has read them.
    """
    import torch

    found: dict[int, int] = {}
    for one in gc.get_objects():
        # Some objects pretend to be of another class, and break when they are asked.
        if issubclass(type(one), torch.Tensor) and one.device.type == "cpu" and one.layout == torch.strided:
            storage = one.untyped_storage()
            if storage.data_ptr() not in found and storage.nbytes():
                torch.empty(0, dtype=torch.uint8).set_(storage)[::PAGE].sum()
                found[storage.data_ptr()] = storage.nbytes()
    return sum(found.values())
