"""Fine-tuning: a technique's change of a model, and what the model is to learn, brought together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from harness.contract import KIND_OF_HEAD, Adapter, Checkpoint, Job, TrainingParams, param
from harness.models.fresh import with_weights
from harness.training.change import Change, all_weights, save_model

__all__ = ["KINDS_OF_VIEW", "Change", "FineTuning", "FineTuningParams", "all_weights", "finetune", "save_model"]

_WRITES, _READS = frozenset({"causal"}), frozenset({"causal", "masked", "seq2seq"})
KINDS_OF_VIEW = {"instructions": _WRITES, "text_to_text": _WRITES | {"seq2seq"}, "labels": _READS, "choices": _READS}
"""Which kinds of model can learn each view: by writing it, or by reading it below a head."""


@dataclass(frozen=True)
class FineTuningParams(TrainingParams):
    """Parameters of every technique that changes a given model."""

    view: str = param("instructions", "what it learns", choices=tuple(KINDS_OF_VIEW), neutral="instructions")


class FineTuning(Adapter):
    """A technique that changes a given model and can learn any view; a subclass says how by ``change``."""

    Params = FineTuningParams

    def __init__(self, params: Any) -> None:
        super().__init__(params)
        self.view = params.view
        self.kinds = self.kinds_for(params.view)
        self.makes_kind = KIND_OF_HEAD.get(params.view)

    def kinds_for(self, view: str) -> frozenset[str]:
        """Kinds of model that the technique can change to learn ``view``."""
        return KINDS_OF_VIEW[view]

    def change(self, job: Job) -> Change:
        """How a model is made ready to train, and what is saved of it."""
        raise NotImplementedError(f"{type(self).__name__} must define change(job)")

    def train(self, job: Job) -> Checkpoint:
        """Train on the view; adapters that are already there are merged first."""
        return finetune(job, self.change(job), self.params.view)

    def eval(self, job: Job) -> Any:
        """Open the model, with its head where it has one."""
        if self.makes_kind is None:
            return super().eval(job)
        from harness.models.pooled import PooledScorer

        return PooledScorer(job.checkpoint, job.precision, job.hardware)


def finetune(job: Job, change: Change, view: str = "instructions") -> Checkpoint:
    """Train what ``change`` makes trainable: on answers, on text to text, or below a head on labels or choices."""
    if view in KIND_OF_HEAD:
        from harness.training.heads import train_head

        return train_head(job, change, view)
    if with_weights(job.checkpoint).kind == "seq2seq":
        from harness.training.text_to_text import learn_pairs

        return learn_pairs(job, change)
    from harness.training.answers import learn_answers

    return learn_answers(job, change, view)
