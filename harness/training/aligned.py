"""What every technique has that learns from preferences: packages, view, and which half of the pairs it reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from harness.contract import Adapter, Hardware, TrainingParams, TrainingSetup, param


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


def declined_by_ppo(setup: TrainingSetup, params: Any) -> str | None:
    """Why TRL's loop cannot train policy and value model in a set-up, whatever its steps, or None."""
    if setup.zero_stage is not None or setup.gradient_checkpointing or setup.attention is not None:
        return "ppo trains with neither zero nor gradient_checkpointing nor a fixed attention kernel"
    if params.mini_batches > 1 and setup.micro_batch_size != setup.batch_size:
        return "mini_batches and accumulation cannot be had together: TRL takes one step of all of them"
    if params.whiten_rewards and setup.batch_size // params.mini_batches < 8:
        return "whiten_rewards takes mini-batches of at least 8 answers"
    if setup.batch_size % params.mini_batches:
        return f"mini_batches {params.mini_batches} does not divide a batch of {setup.batch_size}"
    if params.response_length >= setup.sequence_length:
        return f"response_length {params.response_length} leaves no prompt in {setup.sequence_length} tokens"
    return None
