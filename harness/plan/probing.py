"""Why a training cannot be probed: asked for tasks that measure it in short processes of their own."""

from __future__ import annotations

from harness.contract import Hardware
from harness.plan.fit import State
from harness.plan.methods import ResolvedStage


def unprobed(task: str, stage: ResolvedStage, before: State, hardware: Hardware) -> str | None:
    """Return why ``task`` cannot probe the training of ``stage`` on a checkpoint like ``before``, or None."""
    adapter, name = stage.call.adapter, stage.call.name
    if hardware.ranks > 1:
        return f"{task} probes a training in one process, and this one has {hardware.ranks} ranks"
    if not adapter.fills_sequences:
        return f"{task} probes full sequences, and {name} writes its own answers, however long"
    if adapter.view == "text_to_text" and before.kind_with_weights == "seq2seq":
        return f"{task} probes full sequences, and {name} leaves out pairs that are too long instead of cutting them"
    return None
