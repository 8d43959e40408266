"""What every technique has that learns from preferences: packages, view, and which half of the pairs it reads."""

from __future__ import annotations

from dataclasses import dataclass

from harness.contract import Adapter, Hardware, TrainingParams, param


@dataclass(frozen=True)
class PairParams(TrainingParams):
    """Parameters of every technique that learns from preferences.

    The other half of the pairs is left to a judge that must not have learnt from the same.
    """

    half: str = param(
        "first", "which half of the pairs' prompts it learns from, by their hash", choices=("first", "second", "all")
    )


class Aligned(Adapter):
    """A stage of an alignment, in one process, through TRL."""

    requires = ("torch", "transformers", "accelerate", "datasets", "peft", "trl")
    view = "pairs"

    def skip(self, precision: str, hardware: Hardware) -> str | None:
        """TRL's batches are not divided over processes here."""
        return "an alignment trains in one process: give ranks: 1" if hardware.ranks > 1 else None
