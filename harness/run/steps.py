"""Optimiser steps: one sample each, warm-up told apart, and the figures that follow from the counted ones.

Warm-up is the first 3 steps or the first tenth, whichever is more; at least 10 steps must follow it (PROTOCOL, time 3).
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass, field
from typing import Any

from harness.errors import InvalidMeasurement

WARMUP_STEPS = 3
WARMUP_SHARE = 0.1
STEADY_STEPS = 10
RATES = {
    "tokens_per_second": "tokens",
    "nonpadding_tokens_per_second": "nonpadding_tokens",
    "loss_tokens_per_second": "loss_tokens",
}
LOSS_ENDS = ("train_loss_first", "train_loss_last")


@dataclass
class Steps:
    """Columns of all optimiser steps taken; ``loss`` may be shorter where a trainer does not report every step."""

    seconds: list[float] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    nonpadding_tokens: list[int] = field(default_factory=list)
    loss_tokens: list[int] = field(default_factory=list)
    losses: dict[int, float] = field(default_factory=dict)

    def add(self, seconds: float, tokens: int, nonpadding_tokens: int, loss_tokens: int) -> None:
        """Add one step; ``InvalidMeasurement`` where the counts contradict each other."""
        if not 0 <= loss_tokens <= tokens or not 0 <= nonpadding_tokens <= tokens:
            counts = f"{tokens} tokens, {nonpadding_tokens} not padding, {loss_tokens} with a loss"
            raise InvalidMeasurement(f"token counts of a step contradict each other: {counts}")
        self.seconds.append(seconds)
        self.tokens.append(tokens)
        self.nonpadding_tokens.append(nonpadding_tokens)
        self.loss_tokens.append(loss_tokens)

    def warmup(self) -> int:
        """How many of the first steps are warm-up."""
        return min(len(self.seconds), max(WARMUP_STEPS, math.ceil(WARMUP_SHARE * len(self.seconds))))

    def metrics(self) -> dict[str, float]:
        """Median step time and the three token rates of the counted steps, and the totals; empty without steps."""
        if not self.seconds:
            return {}
        found: dict[str, float] = {"optimizer_steps": len(self.seconds), "train_tokens": sum(self.tokens)}
        counted = self.seconds[self.warmup() :]
        if counted and sum(counted) > 0:
            found["step_seconds"] = statistics.median(counted)
            for rate, column in RATES.items():
                amount = sum(getattr(self, column)[self.warmup() :])
                found[rate] = amount / sum(counted)
                check_rate(rate, found[rate], sum(counted), amount)
        return found | self._loss_ends()

    def flags(self, *, falls: bool = True) -> list[str]:
        """Validity flags: too few counted steps, a loss that did not fall where it is one that ``falls``."""
        found = []
        counted = len(self.seconds) - self.warmup()
        if self.seconds and counted < STEADY_STEPS:
            found.append(f"only {counted} optimiser steps after the warm-up (at least {STEADY_STEPS})")
        ends = self._loss_ends()
        if falls and len(self.losses) >= STEADY_STEPS and ends["train_loss_last"] >= ends["train_loss_first"]:
            found.append("the training loss did not fall")
        return found

    def as_record(self) -> dict[str, Any]:
        """The steps as the record holds them; empty where nothing trained."""
        if not self.seconds and not self.losses:
            return {}
        loss = [self.losses.get(step) for step in range(1, len(self.seconds) + 1)]
        return {
            "seconds": self.seconds,
            "tokens": self.tokens,
            "nonpadding_tokens": self.nonpadding_tokens,
            "loss_tokens": self.loss_tokens,
            "loss": loss,
            "warmup": self.warmup(),
        }

    def _loss_ends(self) -> dict[str, float]:
        if not self.losses:
            return {}
        losses = [self.losses[step] for step in sorted(self.losses)]
        tenth = max(1, len(losses) // 10)
        return dict(zip(LOSS_ENDS, (statistics.fmean(losses[:tenth]), statistics.fmean(losses[-tenth:])), strict=True))


def check_rate(name: str, rate: float, seconds: float, amount: float) -> None:
    """Raise ``InvalidMeasurement`` unless rate x seconds = amount (PROTOCOL, time 2)."""
    if not math.isclose(rate * seconds, amount, rel_tol=1e-6, abs_tol=1e-9):
        raise InvalidMeasurement(f"{name}: {rate:.6g}/s over {seconds:.6g} s is not {amount:.6g}")
