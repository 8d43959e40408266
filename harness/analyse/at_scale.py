"""What the memory model says at the scale that a claim speaks of: beside the verdict, never in its place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from harness.claims import AtScale
from harness.memory.units import in_words
from harness.plan.memory import held_model, predict_method
from harness.plan.methods import Resolver


@dataclass(frozen=True)
class Predicted:
    """Bytes at once, on each rank, of the two sides of a claim on a published shape."""

    asked: AtScale
    of: float
    over: float

    @property
    def ratio(self) -> float:
        """``of`` over ``over``."""
        return self.of / self.over

    def in_words(self) -> str:
        """Both sides and their ratio, with the shape and the sizes."""
        asked = self.asked
        ranks = f", {asked.ranks} ranks" if asked.ranks > 1 else ""
        where = f"{asked.model}, {asked.batch} x {asked.sequence} tokens, {asked.precision}{ranks}"
        return f"predicted at scale: {in_words(self.of)} over {in_words(self.over)}, {self.ratio:.3g} x ({where})"

    def to_dict(self) -> dict[str, Any]:
        """As JSON shows it."""
        return {**vars(self.asked), "of_bytes": self.of, "over_bytes": self.over, "ratio": self.ratio}


def predicted(asked: AtScale) -> Predicted:
    """Predict both sides; ``UsageError`` where one makes no sense on the shape."""
    return Predicted(asked, _bytes(asked, asked.of), _bytes(asked, asked.over))


def _bytes(asked: AtScale, text: str) -> float:
    resolver = Resolver()
    method, precision = resolver.at_precision(resolver.methods(text)[0], asked.precision)
    stages = predict_method(method, held_model(asked.model), asked.budget, precision, asked.hardware_of(method))
    return max(stage.prediction.peak for stage in stages)

