"""``reward_model``: a model that scores an answer, learnt from which of two answers was preferred."""

from __future__ import annotations

from dataclasses import dataclass

from harness.contract import Checkpoint, Job, param
from harness.memory.held import Held
from harness.training.aligned import Aligned, PairParams


class RewardModel(Aligned):
    """Bradley-Terry: -log sigmoid(r(prompt, chosen) - r(prompt, rejected)). The model itself passes through."""

    summary = "a reward model of preference pairs (Bradley-Terry)"
    source = "Christiano et al. 2017, arXiv:1706.03741; Ouyang et al. 2022, arXiv:2203.02155; library: trl"
    gives = frozenset({"reward"})

    @dataclass(frozen=True)
    class Params(PairParams):
        learning_rate: float = param(1e-3, "peak learning rate", low=0.0)

    def holds(self, model: Held) -> Held:
        """A copy with a score learns, on two answers at a time."""
        return model.training(view="labels", sequences=2)

    def train(self, job: Job) -> Checkpoint:
        """Train a copy of the model with a head of one score."""
        from harness.training.alignment import reward_model

        return reward_model(job, self.params.half)
