"""Tokens, losses and model FLOPs of a training, counted batch by batch beside the loop."""

from __future__ import annotations

from typing import Any

from harness.models.flops import TRAINING_OVER_FORWARD, ForwardCost, forward_cost
from harness.models.scoring import IGNORED


class Counts:
    """What the optimiser step that runs now has read; losses stay on the device until the end.

    Tokens are those that the model reads: of an encoder-decoder its inputs and its targets. ``flops`` and
    ``all_tokens`` are sums over all steps; FLOPs are counted where ``cost`` says what a forward pass multiplies.
    """

    def __init__(self, kind: str, cost: ForwardCost | None) -> None:
        self.kind = kind
        self.cost = cost
        self.flops = self.all_tokens = 0
        self.tokens = self.nonpadding = self.loss_bearing = 0
        self.sums: list[Any] = []
        self.open: list[Any] = []

    def add(self, inputs: dict[str, Any], loss: Any) -> None:
        """Count one micro-batch."""
        mask = inputs.get("attention_mask")
        positions = inputs["input_ids"].numel()
        self.tokens += positions
        self.nonpadding += int(mask.sum()) if mask is not None else positions
        bearing = self._bearing(inputs)
        self.loss_bearing += bearing
        target = 0
        if self.kind == "seq2seq":
            self.tokens += inputs["labels"].numel()
            self.nonpadding += bearing
            target = inputs["labels"].shape[1]
        if self.cost is not None:
            sequences, source = inputs["input_ids"].shape
            self.flops += TRAINING_OVER_FORWARD * self.cost.flops(sequences, source, target)
        self.open.append(loss.detach())

    def _bearing(self, inputs: dict[str, Any]) -> int:
        """Tokens that carry a loss: those with a label, those of completions, or the last one of a scored sequence."""
        if "labels" in inputs:
            labels = inputs["labels"]
            return int(((labels[:, 1:] if self.kind == "causal" else labels) != IGNORED).sum())
        if "completion_mask" in inputs:
            return int(inputs["completion_mask"][:, 1:].sum())
        return len(inputs["input_ids"])

    def close(self) -> dict[str, int]:
        """Close the step and return its token counts."""
        counts = {"tokens": self.tokens, "nonpadding_tokens": self.nonpadding, "loss_tokens": self.loss_bearing}
        self.sums.append(sum(self.open))
        self.all_tokens += self.tokens
        self.tokens = self.nonpadding = self.loss_bearing = 0
        self.open = []
        return counts

    def losses(self) -> list[float]:
        """Loss of every finished step, read from the device once."""
        return [float(value) for value in self.sums]


def cost_of_all(model: Any, kind: str) -> ForwardCost | None:
    """What a forward pass costs, of a language model of which everything trains; frozen weights would cost less."""
    language_model = kind in ("causal", "masked", "seq2seq")
    return forward_cost(model) if language_model and all(p.requires_grad for p in model.parameters()) else None
