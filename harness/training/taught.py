"""What every technique has in which a student learns from a teacher, and the parameters of Sanh et al.'s recipe."""

from __future__ import annotations

from dataclasses import dataclass

from harness.contract import Adapter, Hardware, TrainingParams, param


class Taught(Adapter):
    """A stage whose model is the teacher of the student that takes its place."""

    requires = ("torch", "transformers", "accelerate")
    gives = frozenset({"model"})

    def skip(self, precision: str, hardware: Hardware) -> str | None:
        """The loss is not summed over processes."""
        return "a student is taught in one process: give ranks: 1" if hardware.ranks > 1 else None


@dataclass(frozen=True)
class StudentParams(TrainingParams):
    """Parameters of every student."""

    learning_rate: float = param(1e-2, "peak learning rate", low=0.0)
    optimizer: str = param("muon", "optimiser: Muon for matrices, or AdamW", choices=("adamw", "muon"))


@dataclass(frozen=True)
class RecipeParams(StudentParams):
    """Alternate layers of the teacher, and three losses (Sanh et al. 2019, arXiv:1910.01108)."""

    layers: int | None = param(None, "layers of the student; half of the teacher's where not given", low=1)
    temperature: float = param(2.0, "T of both softmaxes", low=0.01)
    soft_weight: float = param(5.0, "weight of the soft targets", low=0.0)
    hard_weight: float = param(0.5, "weight of the labels' loss", low=0.0)
    cosine_weight: float = param(1.0, "weight of the distance of last hidden states", low=0.0)
